// A hub whose disk is full: a file system of a few megabytes in a mount namespace that ends with the hub, so nothing can be
// left behind. Real Redis, real ENOSPC.
import { execFileSync } from "node:child_process";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { ownGround } from "../shared/testing/ground.ts";
import type { WireRecord } from "../shared/grpc/fleet-messages.ts";
import { isDiskFull } from "../shared/pki/secret-file.ts";
import { askOperator } from "./operator-client.ts";
import { makeDataDir, publish, watch } from "./testing/hub.ts";
import { joinByOperator, spawnHub } from "./testing/hub-process.ts";

const diskBytes = 8 * 1024 * 1024;
const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function canMount(): boolean {
  try {
    execFileSync("unshare", ["--mount", "mount", "-t", "tmpfs", "none", "/mnt"], { stdio: "ignore" });
    return true;
  } catch {
    return false; // no root, or not Linux
  }
}

function capacity(round: number): WireRecord {
  const ports = [{ port: 80, ready: 0, total: round }];
  return { cluster: "west", kind: "capacity", capacity: { namespace: "shop", name: `s${round % 5}`, ports } };
}

/** A hub on a small disk of its own, and the folder of that disk as it is seen from here. */
async function hubOnSmallDisk() {
  const made = await makeDataDir();
  const folder = await mkdtemp(join(tmpdir(), "isthmus-small-disk-"));
  cleanups.push(
    () => rm(made, { recursive: true, force: true }),
    () => rm(folder, { recursive: true, force: true }),
  );
  const mount = `mount -t tmpfs -o size=${diskBytes} none ${folder} && cp -a ${made}/. ${folder}/ && exec "$@"`;
  const port = await (await ownGround()).port();
  const hub = await spawnHub(folder, port, ["unshare", "--mount", "sh", "-c", mount, "sh"]);
  cleanups.push(hub.end);
  return { ...hub, disk: `/proc/${hub.child.pid}/root${folder}` };
}

/** Takes every byte that is left; returns the file that does. */
async function fill(disk: string): Promise<string> {
  const path = join(disk, "somebody-elses.log");
  const file = await open(path, "w");
  const fits = (block: Buffer) =>
    file.write(block).then(
      () => true,
      (error: unknown) => {
        if (isDiskFull(error)) return false;
        throw error;
      },
    );
  for (let size = 65_536; size >= 1; size /= 2) {
    const block = Buffer.alloc(size);
    while (await fits(block));
  }
  await file.close();
  return path;
}

describe.skipIf(!canMount())("a full disk", () => {
  it("stops writes, with the reason and what to do; nothing acknowledged is lost, and the hub goes on once there is room", async () => {
    const hub = await hubOnSmallDisk();
    const west = await joinByOperator(hub.disk, hub.address, "west");
    const east = await joinByOperator(hub.disk, hub.address, "east");
    let out = publish(west);
    const acknowledged = new Map<string, number>();
    const write = async (round: number) => {
      out.send({ puts: [capacity(round)] });
      await out.next();
      acknowledged.set(`s${round % 5}`, round);
    };
    let round = 0;
    while (round < 10) await write((round += 1));

    const filling = await fill(hub.disk);
    // the last page of Redis's file may still have room for some
    const refused = expect(
      (async () => {
        for (;;) await write((round += 1));
      })(),
    ).rejects.toThrow("nothing was lost");
    await Promise.all([refused, hub.says("make room in")]);
    const token = askOperator(hub.disk, { method: "POST", path: "/v1/tokens", body: { cluster: "north" } });
    await expect(token).rejects.toThrow(/cannot be written|cannot reach its Redis/);

    await rm(filling);
    // as an agent does: it publishes again until it is heard
    for (let heard = false; !heard; await new Promise((resolve) => setTimeout(resolve, 100))) {
      out.cancel();
      out = publish(west, "session-2");
      heard = await write(round).then(
        () => true,
        () => false,
      );
    }
    while (round < 40) await write((round += 1));
    // the hub's feed comes back on its own, up to a quarter of a second after the writes do (hub/store/change-feed.ts)
    const found = new Map<string, number>();
    await watch(east).nextUntil((event) => {
      if (event.event === "change" && event.change.op === "put" && event.change.put.kind === "capacity") {
        found.set(event.change.put.capacity.name, event.change.put.capacity.ports[0]?.total ?? 0);
      }
      return isDeepStrictEqual(found, acknowledged);
    });
    expect((await joinByOperator(hub.disk, hub.address, "north")).reply.cluster).toBe("north");
    out.cancel();
  }, 180_000);
});
