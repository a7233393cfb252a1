import { EventEmitter } from "node:events";
import { beforeEach, describe, expect, it } from "vitest";
import type { WatchEvent, WatchRequest } from "../../shared/grpc/fleet-messages.ts";
import type { FleetClient } from "../../shared/grpc/fleet-service.ts";
import type { ClusterName } from "../../shared/ids.ts";
import { HeldClock } from "../identity/testing/held-clock.ts";
import { RemoteRegistry } from "./remote-registry.ts";
import { runWatch } from "./watch.ts";

class FakeCall extends EventEmitter {
  cancelled = false;
  cancel(): void {
    this.cancelled = true;
  }
}

let clock: HeldClock;
let remote: RemoteRegistry;
let requests: WatchRequest[];
let call: FakeCall;
let resyncs: string[];
let marks: number;

beforeEach(() => {
  clock = new HeldClock(Date.UTC(2026, 5, 1));
  remote = new RemoteRegistry({ ownCluster: "east" as ClusterName, allowLoopback: false });
  [requests, resyncs, marks] = [[], [], 0];
});

const client = {
  watch: (request: WatchRequest) => {
    requests.push(request);
    call = new FakeCall();
    return call;
  },
} as unknown as FleetClient;

function run(signal = new AbortController().signal): Promise<string> {
  const deps = {
    remote,
    clock,
    onBundle: () => undefined,
    onSynced: () => (marks += 1),
    onResync: (reason: string) => resyncs.push(reason),
  };
  return runWatch(client, deps, signal).catch((error: unknown) => (error as Error).message);
}

const resync: WatchEvent = { event: "resync", resync: { reason: "first-list" } };
const mark = (event: "synced" | "bookmark", revision: number, incarnation = "a"): WatchEvent =>
  event === "synced" ? { event, synced: { incarnation, revision } } : { event, bookmark: { incarnation, revision } };

describe("a watch", () => {
  it("lives as long as bookmarks come, and ends when the hub has been silent for 25 seconds", async () => {
    clock.loops = 1;
    let reason = "";
    const ended = run().then((message) => {
      clock.loops = 0;
      reason = message;
    });
    call.emit("data", resync);
    call.emit("data", mark("synced", 1));
    for (let at = 0; at < 6; at += 1) {
      await clock.pass(10_000);
      call.emit("data", mark("bookmark", 1));
    }
    expect([reason, marks]).toEqual(["", 7]);
    await clock.pass(22_500);
    expect(reason).toBe("");
    clock.loops = 0; // the loop is about to end, not to sleep again
    await clock.pass(7_500);
    await ended;
    expect(reason).toContain("no event from the hub for 25000 ms");
    expect(call.cancelled).toBe(true);
  });

  it("asks for everything at first, later from the last mark on", async () => {
    const first = run();
    call.emit("data", resync);
    call.emit("data", mark("synced", 7));
    call.emit("error", new Error("connection lost"));
    expect(await first).toBe("connection lost");
    const second = run();
    call.emit("end");
    await second;
    expect(requests).toEqual([
      { incarnation: "", revision: 0 },
      { incarnation: "a", revision: 7 },
    ]);
  });

  it("of a hub that went back in time ends, tells it, and asks for everything next", async () => {
    const ended = run();
    call.emit("data", resync);
    call.emit("data", mark("synced", 7));
    call.emit("data", mark("bookmark", 6));
    call.emit("data", mark("synced", 3, "b")); // nothing of the stream counts any more
    expect(await ended).toContain("revision went back");
    expect(resyncs).toEqual(["first-list", "revision went back"]);
    void run();
    expect(requests.at(-1)).toEqual({ incarnation: "", revision: 0 });
    call.emit("end");
  });

  it("ends with its signal", async () => {
    const ending = new AbortController();
    const ended = run(ending.signal);
    ending.abort(new Error("over"));
    expect([await ended, call.cancelled]).toEqual(["over", true]);
  });
});
