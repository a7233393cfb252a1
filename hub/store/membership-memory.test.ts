import { mkdir, mkdtemp, rm, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, expect, it } from "vitest";
import { capturedLog } from "../testing/redis.ts";
import { openMembershipMemory } from "./membership-memory.ts";

let dataDir = "";
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "isthmus-memory-"));
});
afterEach(() => rm(dataDir, { recursive: true, force: true }));

const open = () => openMembershipMemory({ dataDir, pepper: Buffer.alloc(32, 7), log: capturedLog() });
const redeemed = { agentSpki: "a", clusterCaSpki: "c", expiresAtMs: 2_000 };

it("what could not be written is told to who waits for it, and is written once that is possible again", async () => {
  const memory = await open();
  const inTheWay = join(dataDir, `members.json.${process.pid}.new`);
  await mkdir(inTheWay);
  memory.rememberRedeemed("t1", redeemed, 1_000);
  await expect(memory.saved()).rejects.toThrow(/cannot write/);
  await rmdir(inTheWay);
  await memory.saved();
  expect((await open()).redeemed("t1")).toEqual(redeemed);
});
