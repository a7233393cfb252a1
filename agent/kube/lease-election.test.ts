import { afterEach, describe, expect, it } from "vitest";
import type { Clock } from "../../shared/clock.ts";
import { jsonLog } from "../../shared/log.ts";
import { ApiError } from "./api-error.ts";
import type { KubeClient } from "./client.ts";
import { fieldOf, stringOf, type JsonObject } from "./json.ts";
import { runLeaseElection } from "./lease-election.ts";

/** One Lease with the API server's compare-and-set, and a switch that makes it unreachable. */
function leaseServer() {
  let lease: JsonObject | undefined;
  let version = 0;
  const away = new Set<string>();
  const store = (body: JsonObject) => {
    version += 1;
    lease = { ...body, metadata: { ...(body["metadata"] as JsonObject), resourceVersion: String(version) } };
    return lease;
  };
  const client = (name: string): KubeClient => {
    const answer = <T>(work: () => T): Promise<T> => {
      if (away.has(name)) return Promise.reject(new ApiError("unreachable", "away"));
      return Promise.resolve().then(work);
    };
    const unused = () => Promise.reject(new Error("not used by an election"));
    return {
      get: () =>
        answer(() => {
          if (lease === undefined) throw new ApiError("not-found", "no lease");
          return lease;
        }),
      create: (_at, body) =>
        answer(() => {
          if (lease !== undefined) throw new ApiError("already-exists", "there is one");
          return store(body);
        }),
      replace: (_at, body) =>
        answer(() => {
          if (stringOf(fieldOf(body, "metadata", "resourceVersion")) !== String(version))
            throw new ApiError("conflict", "changed");
          return store(body);
        }),
      ...{ apply: unused, mergePatch: unused, remove: unused, listPage: unused, watch: unused, nextSession: unused },
      close: () => undefined,
    };
  };
  return { client, away, holder: () => stringOf(fieldOf(lease, "spec", "holderIdentity")) };
}

/** Time that moves only when the test says so: on a busy machine a real leader may rightly miss its renewals. */
function manualClock() {
  let nowMs = 1_000_000;
  const sleepers = new Set<{ readonly untilMs: number; readonly wake: () => void }>();
  const clock: Clock = {
    now: () => nowMs,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        const end = (settle: () => void) => {
          sleepers.delete(sleeper);
          signal.removeEventListener("abort", abort);
          settle();
        };
        const abort = () => end(() => reject(new Error("aborted")));
        const sleeper = { untilMs: nowMs + ms, wake: () => end(resolve) };
        if (signal.aborted) reject(new Error("aborted"));
        else {
          sleepers.add(sleeper);
          signal.addEventListener("abort", abort, { once: true });
        }
      }),
  };
  const settle = async () => {
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    clock,
    settle,
    /** In small steps, with everything that can run in between. */
    advance: async (ms: number) => {
      for (const endMs = nowMs + ms; nowMs < endMs;) {
        nowMs += 25;
        for (const sleeper of [...sleepers]) if (sleeper.untilMs <= nowMs) sleeper.wake();
        await settle();
      }
    },
    /** A stopped process: the clock has moved on, but no timer has run. */
    jump: (ms: number) => {
      nowMs += ms;
    },
  };
}

interface Replica {
  /** Whether it may write, by its own account; undefined while it does not lead. */
  leads(): boolean | undefined;
  stop(): Promise<void>;
}

const running: Replica[] = [];
afterEach(async () => {
  for (const replica of running.splice(0)) await replica.stop();
});

const LEASE_MS = 6000;

function replica(server: ReturnType<typeof leaseServer>, identity: string, clock: Clock): Replica {
  const abort = new AbortController();
  let leads: (() => boolean) | undefined;
  const lead = async (signal: AbortSignal, mayWrite: () => boolean) => {
    leads = mayWrite;
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    leads = undefined;
  };
  const log = jsonLog("error", (line) => void process.stderr.write(line));
  const deps = { client: server.client(identity), clock, log, random: () => 0 };
  const done = runLeaseElection(
    { namespace: "isthmus-system", name: "isthmus-agent", identity, leaseMs: LEASE_MS, lead },
    deps,
    abort.signal,
  );
  const made: Replica = {
    leads: () => leads?.(),
    stop: async () => {
      abort.abort();
      await done;
    },
  };
  running.push(made);
  return made;
}

describe("a lease election", () => {
  it("lets one replica lead as long as it renews, and the next when it gives the lease back", async () => {
    const server = leaseServer();
    const time = manualClock();
    const one = replica(server, "one", time.clock);
    await time.settle();
    const two = replica(server, "two", time.clock);
    await time.advance(3 * LEASE_MS);
    expect([one.leads(), two.leads()]).toEqual([true, undefined]);
    await one.stop();
    expect(server.holder()).toBe("");
    await time.advance(LEASE_MS / 2);
    expect(two.leads()).toBe(true);
    expect(server.holder()).toBe("two");
  });

  it("ends a leader that cannot renew before anybody else takes over, and takes it as a follower again", async () => {
    const server = leaseServer();
    const time = manualClock();
    const one = replica(server, "one", time.clock);
    await time.settle();
    const two = replica(server, "two", time.clock);
    await time.advance(LEASE_MS);
    server.away.add("one");
    let gapMs = 0;
    for (let waitedMs = 0; two.leads() === undefined && waitedMs < 3 * LEASE_MS; waitedMs += 100) {
      expect(one.leads() === true && two.leads() === true).toBe(false);
      if (one.leads() === undefined) gapMs += 100;
      await time.advance(100);
    }
    expect(two.leads()).toBe(true);
    expect(gapMs).toBeGreaterThanOrEqual(LEASE_MS / 4);
    server.away.delete("one");
    await time.advance(LEASE_MS);
    expect([one.leads(), two.leads()]).toEqual([undefined, true]);
  });

  it("tells a process that was paused that its time is over, before it writes", async () => {
    const time = manualClock();
    const one = replica(leaseServer(), "one", time.clock);
    await time.settle();
    expect(one.leads()).toBe(true);
    time.jump(60_000);
    expect(one.leads()).toBe(false);
  });
});
