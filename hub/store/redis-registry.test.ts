// Contract of the registry on a real redis-server, in both forms of the scripts.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ClusterName } from "../../shared/ids.ts";
import type { CapacityRecord } from "../../shared/registry.ts";
import { openTestStore, startTestRedis, until, type TestRedis, type TestStore } from "../testing/redis.ts";
import { encodeRecord } from "../registry/decide.ts";
import type { Publisher, PublisherWrite } from "./redis-registry.ts";
import type { ScriptMode } from "./scripts.ts";

const west = "west" as ClusterName;
const east = "east" as ClusterName;

function capacity(cluster: string, name: string, ready: number): CapacityRecord {
  return { kind: "capacity", cluster, namespace: "shop", name, ports: [{ port: 80, ready, total: 5 }] };
}

function put(record: CapacityRecord) {
  return { key: `${record.cluster}/capacity/${record.namespace}/${record.name}`, text: encodeRecord(record) };
}

function publisher(cluster: ClusterName, session: string, startedAtMs: number, maxRecords = 100): Publisher {
  return { cluster, session, startedAtMs, maxRecords };
}

let redis: TestRedis;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(() => redis.stop());

describe.each<{ mode: ScriptMode }>([{ mode: "function" }, { mode: "evalsha" }])(
  "the registry by $mode",
  ({ mode }) => {
    let store: TestStore;
    let writes = 0;
    beforeAll(async () => {
      store = await openTestStore(redis, { mode });
    });
    afterAll(() => store.stop());

    const write = (changes: PublisherWrite["changes"], writeId = `w${++writes}`): PublisherWrite => ({
      incarnation: store.live.view!.incarnation,
      writeId,
      changes,
    });
    const readyOf = (key: string) => {
      const record = store.live.view?.get(key);
      return record?.kind === "capacity" ? record.ports[0]?.ready : undefined;
    };

    it("is open before anybody can write, and counts on from there", async () => {
      const quiet = await openTestStore(redis, { mode, follow: false });
      const { incarnation, revision } = await quiet.registry.head();
      expect(incarnation).not.toBe("");
      expect(quiet.live.view).toMatchObject({ incarnation, revision });
      await quiet.stop();
    });

    it("gives every change its own revision and shows it to the hub that follows the stream", async () => {
      const { revision: before } = await store.registry.head();
      const answer = await store.registry.publish(
        publisher(west, "s1", 1),
        write([put(capacity("west", "cart", 3)), put(capacity("west", "pay", 2))]),
      );
      expect(answer).toEqual({ status: "written", revision: before + 2 });
      await until(store.live, () => store.live.view!.revision >= before + 2);
      expect(readyOf("west/capacity/shop/cart")).toBe(3);
      expect(await store.registry.ownedKeys(west)).toHaveLength(2);
    });

    it("answers a repeated write as it did the first time and writes nothing", async () => {
      const once = await store.registry.publish(
        publisher(west, "s1", 1),
        write([put(capacity("west", "cart", 4))], "same"),
      );
      const again = await store.registry.publish(
        publisher(west, "s1", 1),
        write([put(capacity("west", "cart", 4))], "same"),
      );
      expect(again).toEqual({ status: "repeated", revision: once.revision });
    });

    it("wakes nobody when a record is put again with the same value", async () => {
      const first = await store.registry.publish(publisher(west, "s1", 1), write([put(capacity("west", "cart", 2))]));
      const second = await store.registry.publish(publisher(west, "s1", 1), write([put(capacity("west", "cart", 2))]));
      expect(second).toEqual({ status: "written", revision: first.revision });
    });

    it("refuses a compare-and-set against another revision and leaves every record of the call alone", async () => {
      const { revision } = await store.registry.publish(
        publisher(west, "s1", 1),
        write([put(capacity("west", "cart", 1))]),
      );
      const stale = [
        put(capacity("west", "other", 1)),
        { ...put(capacity("west", "cart", 5)), expectedRevision: revision - 1 },
      ];
      expect(await store.registry.publish(publisher(west, "s1", 1), write(stale))).toEqual({
        status: "conflict",
        revision,
      });
      expect(await store.registry.record("west/capacity/shop/other")).toBeUndefined();
      const right = [{ ...put(capacity("west", "cart", 5)), expectedRevision: revision }];
      expect((await store.registry.publish(publisher(west, "s1", 1), write(right))).status).toBe("written");
    });

    it("fences an older publisher while the newer one lives, and lets it back when the newer has gone", async () => {
      const older = publisher(east, "older", 1_000);
      const newer = publisher(east, "newer", 2_000);
      expect((await store.registry.publish(older, write([put(capacity("east", "a", 1))]))).status).toBe("written");
      expect((await store.registry.publish(newer, write([put(capacity("east", "a", 2))]))).status).toBe("written");
      expect((await store.registry.publish(older, write([put(capacity("east", "a", 3))]))).status).toBe("fenced");
      expect(await store.registry.touch(older, 0)).toBe(false);
      expect(await store.registry.touch(newer, 0)).toBe(true);
      expect((await store.registry.publish(older, write([put(capacity("east", "a", 4))]))).status).toBe("written");
    });

    it("holds a member to its quota, also when two hubs decide at once", async () => {
      const tiny = publisher("tiny" as ClusterName, "s", 1, 2);
      const three = ["a", "b", "c"].map((name) => put(capacity("tiny", name, 1)));
      expect((await store.registry.publish(tiny, write(three))).status).toBe("quota");
      expect((await store.registry.publish(tiny, write(three.slice(0, 2)))).status).toBe("written");
      expect((await store.registry.publish(tiny, write([put(capacity("tiny", "a", 4))]))).status).toBe("written");
      const swap = [{ key: "tiny/capacity/shop/a", text: undefined }, put(capacity("tiny", "c", 1))];
      expect((await store.registry.publish(tiny, write(swap))).status).toBe("written");
    });

    it("refuses a writer that knows another life of the registry", async () => {
      const stale = { ...write([put(capacity("west", "cart", 1))]), incarnation: "another" };
      expect((await store.registry.publish(publisher(west, "s1", 1), stale)).status).toBe("incarnation");
    });

    it("keeps a malformed record away from watchers and goes on", async () => {
      const { revision } = await store.registry.write(west, store.live.view!.incarnation, [
        { key: "west/capacity/shop/evil", text: '{"kind":"capacity","cluster":"east"}' },
        put(capacity("west", "fine", 1)),
      ]);
      await until(store.live, () => store.live.view!.revision >= revision);
      expect(store.live.view!.get("west/capacity/shop/evil")).toBeUndefined();
      expect(readyOf("west/capacity/shop/fine")).toBe(1);
    });

    it("takes a snapshot when the stream was trimmed past it", async () => {
      await store.stop();
      const fleet = store.fleet;
      const late = await openTestStore(redis, { mode, fleet });
      const { view } = late.live;
      expect(view!.get("west/capacity/shop/fine")).toBeDefined();
      expect(view!.revision).toBe((await late.registry.head()).revision);
      store = late;
    });
  },
);
