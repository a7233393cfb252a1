// Trust of a fleet while it runs: who is cut off is, at once, and nobody else notices.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCutOff, type CutOff } from "../stage/cut-off.ts";
import { openRunnersFleet } from "../stage/runners-fleet.ts";

/** On a busy machine a timing row asserts three times its bar; the bars themselves belong to the bench `revoke`. */
const BUSY = 3;

describe("a member that is revoked", () => {
  let cutOff: CutOff;

  beforeAll(async () => {
    cutOff = await openCutOff(await openRunnersFleet(), "e2e-revoke");
  });

  afterAll(() => cutOff.close());

  test("gets no new connection, its open ones are closed whatever they carry, and nobody else loses a request", async () => {
    const result = await cutOff.revoke();
    process.stdout.write(`revoked: ${JSON.stringify(result)}\n`);
    expect(result.newRefusedMs).toBeLessThan(5_000 * BUSY);
    expect(Math.max(...Object.values(result.closedMs))).toBeLessThan(30_000 * BUSY);
    expect(result.othersFailed, result.othersSaid.join("; ")).toBe(0);
  }, 180_000);

  test("is taken again when that is undone", async () => {
    process.stdout.write(`trusted again after ${await cutOff.reinstate()} ms\n`);
  }, 120_000);
});
