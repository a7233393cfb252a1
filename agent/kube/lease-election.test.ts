import { afterEach, describe, expect, it } from "vitest";
import { systemClock, type Clock } from "../../shared/clock.ts";
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

interface Replica {
  readonly leading: Promise<() => boolean>;
  readonly ended: Promise<unknown>;
  stop(): Promise<void>;
}

const running: Replica[] = [];
afterEach(async () => {
  for (const replica of running.splice(0)) await replica.stop();
});

const LEASE_MS = 1000;

function replica(server: ReturnType<typeof leaseServer>, identity: string, clock: Clock = systemClock): Replica {
  const began = Promise.withResolvers<() => boolean>();
  const ended = Promise.withResolvers<undefined>();
  const abort = new AbortController();
  const lead = async (signal: AbortSignal, leads: () => boolean) => {
    began.resolve(leads);
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    ended.resolve(undefined);
  };
  const log = jsonLog("error", (line) => void process.stderr.write(line));
  const deps = { client: server.client(identity), clock, log, random: () => 0 };
  const options = { namespace: "isthmus-system", name: "isthmus-agent", identity, leaseMs: LEASE_MS, lead };
  const done = runLeaseElection(options, deps, abort.signal);
  const made: Replica = {
    leading: began.promise,
    ended: ended.promise,
    stop: async () => {
      abort.abort();
      await done;
    },
  };
  running.push(made);
  return made;
}

describe("a lease election", () => {
  it("lets one replica lead, and the next at once when the leader gives the lease back", async () => {
    const server = leaseServer();
    const one = replica(server, "one");
    await one.leading;
    const two = replica(server, "two");
    const first = await Promise.race([
      two.leading.then(() => "two"),
      systemClock.sleep(LEASE_MS * 1.5, never()).then(() => "nobody new"),
    ]);
    expect(first).toBe("nobody new");
    await one.stop();
    expect(server.holder()).not.toBe("one");
    await two.leading;
    expect(server.holder()).toBe("two");
  });

  it("ends a leader that cannot renew before anybody else may take over", async () => {
    const server = leaseServer();
    const one = replica(server, "one");
    const leads = await one.leading;
    expect(leads()).toBe(true);
    const two = replica(server, "two");
    server.away.add("one");
    const order: string[] = [];
    await Promise.all([one.ended.then(() => order.push("one ended")), two.leading.then(() => order.push("two leads"))]);
    expect(order).toEqual(["one ended", "two leads"]);
    expect(leads()).toBe(false);
  });

  it("tells a process that was paused that its time is over, before it writes", async () => {
    const server = leaseServer();
    let skippedMs = 0;
    const clock: Clock = { now: () => Date.now() + skippedMs, sleep: (ms, signal) => systemClock.sleep(ms, signal) };
    const leads = await replica(server, "one", clock).leading;
    expect(leads()).toBe(true);
    skippedMs = 60_000; // SIGSTOP for a minute: no timer has run yet
    expect(leads()).toBe(false);
  });
});

function never(): AbortSignal {
  return new AbortController().signal;
}
