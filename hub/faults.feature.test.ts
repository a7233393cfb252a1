// What a hub and its Redis survive: kill -9 of either under load, a restart, and a Redis that was restored from an old
// state. Real processes throughout.
import { cp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { WatchEvent, WireRecord } from "../shared/grpc/fleet-messages.ts";
import { readFleetError } from "../shared/grpc/fleet-status.ts";
import { ownGround } from "../shared/testing/ground.ts";
import {
  anonymousClient,
  clientOf,
  joinAgent,
  joinRequest,
  makeDataDir,
  newKeys,
  publish,
  startTestHub,
  watch,
} from "./testing/hub.ts";
import { joinByOperator, spawnHub } from "./testing/hub-process.ts";

/** A limit for a machine with ten times more to do than it has cores; alone each test takes a few seconds. */
const busyMachineMs = 180_000;
const isSynced = (event: WatchEvent) => event.event === "synced";
const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function capacity(cluster: string, name: string, total: number): WireRecord {
  return { cluster, kind: "capacity", capacity: { namespace: "shop", name, ports: [{ port: 80, ready: 0, total }] } };
}

/** name -> total, as a full list of another member shows it. */
function totals(events: readonly WatchEvent[]): Map<string, number> {
  const found = new Map<string, number>();
  for (const event of events) {
    if (event.event !== "change" || event.change.op !== "put" || event.change.put.kind !== "capacity") continue;
    const { name, ports } = event.change.put.capacity;
    found.set(name, ports[0]?.total ?? 0);
  }
  return found;
}

async function redisPid(dataDir: string): Promise<number> {
  return Number(await readFile(join(dataDir, "redis", "redis.pid"), "utf8"));
}

describe("kill -9", () => {
  it(
    "of Redis under load loses no acknowledged write, and the agents' streams live on",
    async () => {
      const hub = await startTestHub();
      cleanups.push(() => hub.stop());
      const west = await joinAgent(hub, "west");
      const east = await joinAgent(hub, "east");
      const seen = watch(east);
      await seen.nextUntil(isSynced);
      const out = publish(west);
      const acknowledged = new Map<string, number>();
      for (let round = 1; round <= 60; round += 1) {
        const name = `s${round % 5}`;
        out.send({ puts: [capacity("west", name, round)] });
        if (round % 15 === 0 && round < 60) process.kill(await redisPid(hub.dataDir), "SIGKILL");
        await out.next();
        acknowledged.set(name, round);
      }
      // a hub that has just found Redis again lists what its feed has brought so far; the open stream says when that is all
      const live = await seen.nextUntil((event) => totals([event]).get("s0") === 60);
      const list = watch(east);
      expect(totals(await list.nextUntil(isSynced))).toEqual(acknowledged);
      expect(live.some(({ event }) => event === "resync")).toBe(false);
      expect(hub.log.lines.filter((line) => line.includes("redis-server ended"))).toHaveLength(3);
      for (const stream of [out, seen, list]) stream.cancel();
    },
    busyMachineMs,
  );

  it(
    "of the hub under load loses no acknowledged write; its successor ends the Redis left behind",
    async () => {
      const dataDir = await makeDataDir();
      cleanups.push(() => rm(dataDir, { recursive: true, force: true }));
      const port = await (await ownGround()).port();
      const first = await spawnHub(dataDir, port);
      cleanups.push(first.end);
      const west = await joinByOperator(dataDir, first.address, "west");
      const east = await joinByOperator(dataDir, first.address, "east");
      const out = publish(west);
      const acknowledged = new Map<string, number>();
      const load = (async () => {
        for (let round = 1; ; round += 1) {
          out.send({ puts: [capacity("west", `s${round % 5}`, round)] });
          await out.next();
          acknowledged.set(`s${round % 5}`, round);
          if (round === 50) first.child.kill("SIGKILL");
        }
      })();
      await expect(load).rejects.toThrow();
      const second = await spawnHub(dataDir, port);
      cleanups.push(second.end);
      const after = clientOf(second.address, east.keys, east.reply.agentChainDer);
      const list = watch({ ...east, client: after });
      const found = totals(await list.nextUntil(isSynced));
      // a write whose acknowledgement was lost may be there as well, never an older one
      for (const [name, total] of acknowledged) expect(found.get(name)).toBeGreaterThanOrEqual(total);
      for (const stream of [out, list]) stream.cancel();
    },
    busyMachineMs,
  );
});

describe("a restart of the hub", () => {
  it(
    "keeps incarnation and revision: a watcher that kept up resumes without a list",
    async () => {
      const hub = await startTestHub({}, true);
      cleanups.push(() => rm(hub.dataDir, { recursive: true, force: true }));
      const west = await joinAgent(hub, "west");
      const east = await joinAgent(hub, "east");
      const out = publish(west);
      out.send({ puts: [capacity("west", "cart", 1)], synced: true });
      await out.next();
      const before = watch(east);
      const mark = (await before.nextUntil(isSynced)).at(-1);
      out.send({ puts: [capacity("west", "cart", 2)] });
      await out.next();
      await hub.stop();
      const again = await startTestHub({ data: hub.dataDir }, true);
      cleanups.push(() => again.stop());
      const client = clientOf(again.address, east.keys, east.reply.agentChainDer);
      const resumed = watch({ ...east, client }, mark?.event === "synced" ? mark.synced : {});
      const events = await resumed.nextUntil(isSynced);
      expect(events.map(({ event }) => event)).toEqual(["bundle", "change", "synced"]);
      expect(totals(events).get("cart")).toBe(2);
      resumed.cancel();
    },
    busyMachineMs,
  );
});

describe("a Redis restored from an older state", () => {
  it(
    "is noticed: a new incarnation, a resync, and no token is redeemed until an operator confirms",
    async () => {
      const hub = await startTestHub({}, true);
      const { dataDir } = hub;
      cleanups.push(() => rm(dataDir, { recursive: true, force: true }));
      const west = await joinAgent(hub, "west");
      const old = join(dataDir, "old-redis");
      await cp(join(dataDir, "redis", "appendonlydir"), old, { recursive: true });
      const spent = await hub.tokenFor("late");
      const lateKeys = newKeys();
      const joining = anonymousClient(hub.address);
      await joining.join(await joinRequest(spent, lateKeys));
      joining.close();
      const before = await hub.operator("GET", "/v1/status");
      await hub.stop();
      await rm(join(dataDir, "redis", "appendonlydir"), { recursive: true });
      await cp(old, join(dataDir, "redis", "appendonlydir"), { recursive: true });

      const again = await startTestHub({ data: dataDir }, true);
      cleanups.push(() => again.stop());
      const client = clientOf(again.address, west.keys, west.reply.agentChainDer);
      const list = await watch({ ...west, client }, { incarnation: "old", revision: 1 }).nextUntil(isSynced);
      expect(list[1]).toMatchObject({ resync: { reason: "other-incarnation" } });
      const status = await again.operator("GET", "/v1/status");
      expect(status["restored"]).toBe(true);
      expect(Number(status["revision"])).toBeGreaterThan(Number(before["revision"]));
      expect(again.log.lines.join("")).toContain("went back in time");
      expect(await (await fetch(`${again.http}/metrics`)).text()).toMatch(/isthmus_hub_restores 1/);

      const anonymous = anonymousClient(again.address);
      const attempt = async () => anonymous.join(await joinRequest(await again.tokenFor("north"), newKeys()));
      const refusal = await attempt().then(() => undefined, readFleetError);
      expect(refusal?.code).toBe("ISTHMUS_REGISTRY_RESTORED");
      await again.operator("POST", "/v1/confirm-restore");
      expect((await attempt()).cluster).toBe("north");
      anonymous.close();
    },
    busyMachineMs,
  );
});
