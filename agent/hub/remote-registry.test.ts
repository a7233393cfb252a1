import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import type { WatchEvent } from "../../shared/grpc/fleet-messages.ts";
import { toWire } from "../../shared/grpc/record-wire.ts";
import type { ClusterName } from "../../shared/ids.ts";
import { recordKey, type CapacityRecord, type Cursor, type RegistryRecord } from "../../shared/registry.ts";
import { RemoteRegistry } from "./remote-registry.ts";

const ownCluster = "east" as ClusterName;

function capacity(name: string, ready: number, cluster = "west"): CapacityRecord {
  return { kind: "capacity", cluster, namespace: "shop", name, ports: [{ port: 80, ready, total: 1000 }] };
}

const put = (revision: number, record: RegistryRecord): WatchEvent => ({
  event: "change",
  change: { revision, op: "put", put: toWire(record) },
});
const remove = (revision: number, record: RegistryRecord): WatchEvent => ({
  event: "change",
  change: { revision, op: "deleteKey", deleteKey: recordKey(record) },
});
const resync: WatchEvent = { event: "resync", resync: { reason: "first-list" } };
const synced = (revision: number, incarnation = "a"): WatchEvent => ({
  event: "synced",
  synced: { incarnation, revision },
});
const bookmark = (revision: number, incarnation = "a"): WatchEvent => ({
  event: "bookmark",
  bookmark: { incarnation, revision },
});

let remote: RemoteRegistry;
let changes: number;
const held = () =>
  remote
    .records()
    .map((record) => `${recordKey(record)}=${readyOf(record)}`)
    .sort();
const readyOf = (record: RegistryRecord) => (record.kind === "capacity" ? record.ports[0]?.ready : undefined);
const feed = (...events: readonly WatchEvent[]) =>
  events.map((event) => remote.apply(event)).find((fault) => fault !== undefined);

beforeEach(() => {
  remote = new RemoteRegistry({ ownCluster, allowLoopback: false });
  changes = 0;
  remote.onChange(() => (changes += 1));
});

describe("a list", () => {
  it("counts when it is whole, not before", () => {
    remote.beginStream();
    feed(resync, put(3, capacity("cart", 1)), put(2, capacity("basket", 1)));
    expect([held(), remote.isComplete(), changes]).toEqual([[], false, 0]);
    feed(synced(3));
    expect([held().length, remote.isComplete(), changes]).toEqual([2, true, 1]);
    expect(remote.cursor()).toEqual({ incarnation: "a", revision: 3 });
  });

  it("that is empty is news the first time: now it is known to be", () => {
    remote.beginStream();
    feed(resync, synced(0));
    expect([remote.isComplete(), changes]).toEqual([true, 1]);
  });

  it("that was cut off changes nothing, and the next stream resumes where the last whole one ended", () => {
    remote.beginStream();
    feed(resync, put(1, capacity("cart", 1)), synced(1));
    remote.beginStream();
    feed(resync, put(9, capacity("other", 1)));
    remote.beginStream();
    expect(held()).toEqual(["west/capacity/shop/cart=1"]);
    expect(remote.cursor()).toEqual({ incarnation: "a", revision: 1 });
  });

  it("replaces what was held: what it leaves out is gone, what is equal stays the same object", () => {
    remote.beginStream();
    feed(resync, put(1, capacity("cart", 1)), put(2, capacity("basket", 1)), synced(2));
    const cart = remote.records().find((record) => record.kind === "capacity" && record.name === "cart");
    feed(resync, put(1, capacity("cart", 1)), synced(1, "b"));
    expect(remote.records()).toEqual([cart]);
    expect(remote.records()[0]).toBe(cart);
  });
});

describe("changes", () => {
  beforeEach(() => {
    remote.beginStream();
    feed(resync, put(5, capacity("cart", 1)), synced(5));
    changes = 0;
  });

  it("apply at once, one notice each; an equal record is none", () => {
    feed(
      put(6, capacity("cart", 2)),
      put(7, capacity("cart", 2)),
      remove(8, capacity("cart", 2)),
      remove(9, capacity("cart", 2)),
    );
    expect([held(), changes]).toEqual([[], 2]);
  });

  it("leave the array as it is while nothing changes", () => {
    const before = remote.records();
    feed(put(6, capacity("cart", 1)), bookmark(6));
    expect(remote.records()).toBe(before);
  });

  it("move the cursor only by marks: a burst that was cut is asked for again", () => {
    feed(put(6, capacity("cart", 2)));
    expect([remote.cursor()?.revision, remote.appliedRevision()]).toEqual([5, 6]);
    feed(bookmark(6));
    expect(remote.cursor()?.revision).toBe(6);
  });

  it("that are repeated after a reconnect never bring an older value back", () => {
    feed(put(6, capacity("cart", 2)), put(7, capacity("cart", 3)));
    remote.beginStream();
    changes = 0;
    expect(feed(put(6, capacity("cart", 2)), put(7, capacity("cart", 3)), synced(7))).toBeUndefined();
    expect([held(), changes]).toEqual([["west/capacity/shop/cart=3"], 0]);
  });

  it("of our own cluster are never taken", () => {
    feed(put(6, capacity("cart", 1, "east")));
    expect(held()).toEqual(["west/capacity/shop/cart=1"]);
  });

  it("that make no sense are refused alone: the last good record stays, the others arrive", () => {
    feed(put(6, { ...capacity("cart", 7), ports: [{ port: 80, ready: 9, total: 1 }] }), put(7, capacity("basket", 2)));
    expect(held()).toEqual(["west/capacity/shop/basket=2", "west/capacity/shop/cart=1"]);
    expect(remote.problems()).toMatchObject([{ code: "ISTHMUS_RECORD" }]);
  });

  it("with a gateway on a loopback address are refused: they would point at ourselves", () => {
    feed(
      put(6, {
        kind: "gateway",
        cluster: "west",
        addresses: [{ host: "127.0.0.1", port: 15443 }],
        region: "",
        zone: "",
      }),
    );
    expect(remote.problems()).toMatchObject([{ code: "ISTHMUS_GATEWAY_ADDRESS" }]);
  });

  it.each<[string, readonly WatchEvent[], string]>([
    ["a revision that goes back", [put(6, capacity("cart", 2)), put(4, capacity("cart", 9))], "revision went back"],
    ["a mark that goes back", [put(6, capacity("cart", 2)), bookmark(5)], "revision went back"],
    ["another life without a resync", [bookmark(6, "b")], "incarnation changed without resync"],
  ])("with %s are a fault, and what was held stays", (_what, events, fault) => {
    expect(feed(...events)).toBe(fault);
    expect(held()).toHaveLength(1);
    remote.forgetCursor();
    expect([held().length, remote.cursor(), remote.isComplete()]).toEqual([1, undefined, true]);
  });

  it("of an older time are accepted after a resync: the hub has said so", () => {
    feed(resync, put(2, capacity("cart", 8)), synced(2, "b"));
    expect(held()).toEqual(["west/capacity/shop/cart=8"]);
    expect(remote.cursor()).toEqual({ incarnation: "b", revision: 2 });
  });
});

it("starts from what an earlier process kept, and is complete", () => {
  const restored = { records: [capacity("cart", 4)], cursor: { incarnation: "a", revision: 9 } };
  const again = new RemoteRegistry({ ownCluster, allowLoopback: false, restored });
  expect([again.isComplete(), again.records().length, again.cursor()]).toEqual([true, 1, restored.cursor]);
});

describe("any history, cut anywhere", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("write" as const), name: fc.nat(3), ready: fc.nat(3), deleted: fc.boolean() }),
    fc.record({ kind: fc.constant("stream" as const), upTo: fc.nat(12), compacted: fc.boolean() }),
  );

  it("ends in the hub's state, and no value ever goes back on the way", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const model = new ModelHub();
        remote = new RemoteRegistry({ ownCluster, allowLoopback: false });
        const newest = new Map<string, number>();
        remote.onChange(() => {
          for (const record of remote.records()) {
            const revision = model.revisionOf(record);
            expect(revision).toBeGreaterThanOrEqual(newest.get(recordKey(record)) ?? 0);
            newest.set(recordKey(record), revision);
          }
        });
        for (const at of steps) {
          if (at.kind === "write") model.write(at.name, at.ready, at.deleted);
          else play(model.stream(remote.cursor(), at.compacted).slice(0, at.upTo));
        }
        play(model.stream(remote.cursor(), false));
        expect(held()).toEqual(model.held());
      }),
    );
  });

  function play(events: readonly WatchEvent[]): void {
    remote.beginStream();
    for (const event of events) expect(remote.apply(event)).toBeUndefined();
  }
});

/** A hub that is only its log. Each value is written once, so a value tells its revision. */
class ModelHub {
  readonly #log: WatchEvent[] = [];
  readonly #state = new Map<string, CapacityRecord>();
  readonly #revisions = new Map<string, number>();
  #revision = 0;

  write(name: number, ready: number, deleted: boolean): void {
    this.#revision += 1;
    const record = capacity(`s${name}`, (this.#revision % 250) * 4 + ready);
    this.#revisions.set(JSON.stringify(record), this.#revision);
    this.#log.push(deleted ? remove(this.#revision, record) : put(this.#revision, record));
    if (deleted) this.#state.delete(recordKey(record));
    else this.#state.set(recordKey(record), record);
  }

  revisionOf(record: RegistryRecord): number {
    return this.#revisions.get(JSON.stringify(record)) ?? -1;
  }

  held(): readonly string[] {
    return [...this.#state.values()].map((record) => `${recordKey(record)}=${readyOf(record)}`).sort();
  }

  stream(cursor: Cursor | undefined, compacted: boolean): readonly WatchEvent[] {
    if (cursor === undefined || compacted) {
      const list = [...this.#state.values()].map((record) => put(this.revisionOf(record), record));
      return [resync, ...list, synced(this.#revision)];
    }
    return [...this.#log.slice(cursor.revision), synced(this.#revision)];
  }
}
