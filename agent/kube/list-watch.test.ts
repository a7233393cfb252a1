import { afterEach, describe, expect, it, vi } from "vitest";
import { systemClock, type Clock } from "../../shared/clock.ts";
import { jsonLog } from "../../shared/log.ts";
import { createClient } from "./client.ts";
import { runListWatch, type FeedState, type ListWatchOptions } from "./list-watch.ts";
import { parseNamespace, type NamespaceRecord } from "./parse/namespace.ts";
import { namespaces, serviceExports, serviceExportsAlpha, trafficTargets } from "./resources.ts";
import { createStore, type ObjectStore } from "./store.ts";
import { startFakeApi, type FakeApi, type FakeCall } from "./testing/fake-api.ts";

interface Running {
  readonly store: ObjectStore<NamespaceRecord>;
  readonly states: readonly FeedState[];
  names(): readonly string[];
  /** Waits for a state or a change after which `holds` is true. */
  until(what: string, holds: () => boolean): Promise<void>;
  readonly changes: () => number;
}

const cleanUp: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const end of cleanUp.splice(0).reverse()) await end();
});

function run(
  api: FakeApi,
  options: ListWatchOptions = { resources: [namespaces] },
  clock: Clock = systemClock,
): Running {
  const listeners = new Set<() => void>();
  const tellAll = () => {
    for (const listener of [...listeners]) listener();
  };
  let changes = 0;
  const onChange = () => {
    changes += 1;
    tellAll();
  };
  const store = createStore({ kind: "Namespace", parse: parseNamespace, onChange, aside: () => undefined });
  const states: FeedState[] = [];
  const onState = (state: FeedState) => {
    states.push(state);
    tellAll();
  };
  const client = createClient(api.connection, { requestTimeoutMs: 5000 });
  const abort = new AbortController();
  const log = jsonLog("error", (line) => void process.stderr.write(line));
  const done = runListWatch(options, store.sink, { client, clock, log, random: () => 0.5, onState }, abort.signal);
  cleanUp.push(async () => {
    abort.abort();
    await done;
    client.close();
  });
  return {
    store,
    states,
    changes: () => changes,
    names: () => store.records().map(({ name }) => name),
    until: (what, holds) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`not in time: ${what}; ${JSON.stringify(states)}`)), 15_000);
        const check = () => {
          if (!holds()) return;
          clearTimeout(timer);
          listeners.delete(check);
          resolve();
        };
        listeners.add(check);
        check();
      }),
  };
}

/** Sleeps no longer than a turn of the event loop, and keeps what it was asked for. */
function hurried(): { readonly clock: Clock; readonly sleptMs: readonly number[] } {
  const sleptMs: number[] = [];
  const sleep: Clock["sleep"] = async (ms, signal) => {
    sleptMs.push(ms);
    await systemClock.sleep(0, signal);
  };
  return { clock: { now: () => systemClock.now(), sleep }, sleptMs };
}

async function fake(answer: (call: FakeCall) => void): Promise<FakeApi> {
  const api = await startFakeApi(answer);
  cleanUp.push(() => api.close());
  return api;
}

function namespace(name: string, version = "1", labels: Record<string, string> = {}) {
  return { metadata: { name, uid: `uid-${name}`, resourceVersion: version, labels } };
}

function listOf(items: readonly unknown[], version: string, next = "") {
  return { kind: "NamespaceList", metadata: { resourceVersion: version, continue: next }, items };
}

const gone = { kind: "Status", code: 410, reason: "Expired", message: "too old resource version" };

describe("a list in pages", () => {
  it("counts as a list only when its last page came", async () => {
    const asked: string[] = [];
    let watched = 0;
    const api = await fake((call) => {
      if (call.query.get("watch") === "true") {
        watched += 1;
        call.watch();
        return;
      }
      asked.push(call.query.get("continue") ?? "");
      const page = call.query.get("continue") ?? "";
      if (page === "") call.json(200, listOf([namespace("a"), namespace("b")], "7", "two"));
      else call.json(200, listOf([namespace("c")], "7"));
    });
    const feed = run(api, { resources: [namespaces], pageSize: 2 });
    await feed.until("synced", () => feed.states.at(-1)?.state === "synced");
    expect(feed.names()).toEqual(["a", "b", "c"]);
    expect(asked).toEqual(["", "two"]);
    expect(watched).toBeLessThanOrEqual(1);
    expect(feed.changes()).toBe(1);
  });

  const breaks: readonly { name: string; breakOff: (call: FakeCall) => void }[] = [
    { name: "an error", breakOff: (call) => call.json(500, { message: "etcd is away" }) },
    { name: "an expired continue token", breakOff: (call) => call.json(410, gone) },
    {
      name: "a body that is cut off",
      breakOff: (call) => {
        call.stream.respond({ ":status": 200 });
        call.stream.end(JSON.stringify(listOf([namespace("b")], "9")).slice(0, -20));
      },
    },
    {
      name: "a stream that is reset",
      breakOff: (call) => {
        call.stream.respond({ ":status": 200 });
        call.stream.write('{"metadata":{"resourceVersion":"9"},"items":[]');
        setImmediate(() => call.stream.close(2));
      },
    },
    { name: "a connection that is lost", breakOff: (call) => call.stream.session?.socket.destroy() },
    { name: "an answer that is no list", breakOff: (call) => call.json(200, { kind: "Status" }) },
  ];
  it.each(breaks)("that breaks off with $name deletes nothing", async ({ name, breakOff }) => {
    let lists = 0;
    let watches = 0;
    const limits: (string | null)[] = [];
    const api = await fake((call) => {
      if (call.query.get("watch") === "true") {
        watches += 1;
        const watch = call.watch();
        if (watches === 1) watch.send("ERROR", gone); // so that it lists again
        return;
      }
      const second = call.query.get("continue") === "more";
      if (!second) limits.push(call.query.get("limit"));
      if (!second) lists += 1;
      if (second && lists === 2) breakOff(call);
      else if (second) call.json(200, listOf([namespace("b")], "9"));
      else call.json(200, listOf([namespace("a")], "9", "more"));
    });
    const feed = run(api);
    await feed.until("the list after the broken one", () => lists === 3 && feed.states.at(-1)?.state === "synced");
    expect(feed.names()).toEqual(["a", "b"]);
    expect(feed.changes()).toBe(1);
    expect(limits).toEqual(["500", "500", name === "an expired continue token" ? null : "500"]);
  });
});

describe("a watch", () => {
  it("resumes where it was after the connection is lost, without another list", async () => {
    let lists = 0;
    const resumed: string[] = [];
    const api = await fake((call) => {
      if (call.query.get("watch") !== "true") {
        lists += 1;
        call.json(200, listOf([namespace("a", "3")], "5"));
        return;
      }
      resumed.push(call.query.get("resourceVersion") ?? "");
      const watch = call.watch();
      if (resumed.length === 1) watch.send("ADDED", namespace("b", "8"));
      if (resumed.length === 2) {
        watch.send("BOOKMARK", { metadata: { resourceVersion: "20" } });
        watch.end();
      }
      if (resumed.length === 3) watch.send("ADDED", namespace("c", "21"));
    });
    const feed = run(api);
    await feed.until("b", () => feed.names().includes("b"));
    api.cut();
    await feed.until("c", () => feed.names().includes("c"));
    expect(feed.states.map(({ state }) => state)).toContain("stale");
    expect(lists).toBe(1);
    expect(resumed).toEqual(["5", "8", "20"]);
  });

  it("that the server ends at once again and again is spaced out", async () => {
    let watches = 0;
    const api = await fake((call) => {
      if (call.query.get("watch") !== "true") {
        call.json(200, listOf([], "5"));
        return;
      }
      watches += 1;
      call.watch().end();
    });
    const { clock, sleptMs } = hurried();
    const feed = run(api, undefined, clock);
    await feed.until("stale", () => feed.states.some(({ state }) => state === "stale"));
    await vi.waitFor(() => expect(sleptMs.length).toBeGreaterThanOrEqual(8), 30_000);
    // one pause after each watch, longer every time up to the longest
    expect(watches).toBeLessThanOrEqual(sleptMs.length + 1);
    const pauses = sleptMs.slice(0, 8);
    expect(pauses).toEqual([...pauses].sort((a, b) => a - b));
    expect(Math.min(...pauses)).toBeGreaterThan(0);
    expect(pauses.reduce((sum, ms) => sum + ms, 0)).toBeGreaterThan(15_000);
  });

  it("gives up credentials that are refused, and asks again with new ones", async () => {
    const seen: unknown[] = [];
    const api = await fake((call) => {
      seen.push(call.headers.authorization);
      if (call.headers.authorization === "Bearer generation-0") call.json(401, { message: "Unauthorized" });
      else if (call.query.get("watch") === "true") call.watch();
      else call.json(200, listOf([namespace("a")], "5"));
    });
    const feed = run(api);
    await feed.until("synced", () => feed.states.at(-1)?.state === "synced");
    expect(api.forgotten()).toBe(1);
    expect(seen[0]).toBe("Bearer generation-0");
  });

  it("waits as long as the server asks", async () => {
    let calls = 0;
    const api = await fake((call) => {
      calls += 1;
      if (calls === 1) call.json(429, { message: "too many requests" }, { "retry-after": "1" });
      else if (call.query.get("watch") === "true") call.watch();
      else call.json(200, listOf([], "5"));
    });
    const { clock, sleptMs } = hurried();
    const feed = run(api, undefined, clock);
    await feed.until("synced", () => feed.states.at(-1)?.state === "synced");
    expect(sleptMs).toEqual([1_000]);
  });
});

describe("a resource that is not served", () => {
  it("is an empty collection at the start", async () => {
    const api = await fake((call) => call.json(404, { message: "page not found" }));
    const feed = run(api, { resources: [trafficTargets] });
    await feed.until("synced", () => feed.states.at(-1)?.state === "synced");
    expect(feed.names()).toEqual([]);
  });

  it("is read in an older version where the server has only that", async () => {
    const api = await fake((call) => {
      if (call.path.includes("v1beta1")) call.json(404, { message: "page not found" });
      else if (call.query.get("watch") === "true") call.watch();
      else call.json(200, listOf([namespace("a")], "5"));
    });
    const feed = run(api, { resources: [serviceExports, serviceExportsAlpha] });
    await feed.until("synced", () => feed.states.at(-1)?.state === "synced");
    const state = feed.states.at(-1);
    expect(state?.state === "synced" && state.resource?.version).toBe("v1alpha1");
    expect(feed.names()).toEqual(["a"]);
  });

  it("keeps what is known when an API server that is starting answers 404", async () => {
    let starting = 0;
    let watches = 0;
    const api = await fake((call) => {
      if (starting > 0) {
        starting -= 1;
        call.json(404, { message: "page not found" });
        return;
      }
      if (call.query.get("watch") !== "true") {
        call.json(200, listOf([namespace("a")], "5"));
        return;
      }
      watches += 1;
      const watch = call.watch();
      if (watches > 1) return;
      starting = 2;
      watch.send("ERROR", gone);
    });
    const feed = run(api);
    await feed.until("stale", () => feed.states.at(-1)?.state === "stale");
    expect(feed.names()).toEqual(["a"]);
    await feed.until("current again", () => feed.states.at(-1)?.state === "synced");
    expect(feed.names()).toEqual(["a"]);
    expect(feed.changes()).toBe(1);
  });
});
