// Whole parts of the fleet, of clusters or of sites, are lost while requests flow. One after the other, and last of the suite: each breaks what all
// share, and mends it before the next.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { faultsOf, openFaultStage, type FaultStage } from "../stage/fault-stage.ts";
import { openRunnersFleet } from "../stage/runners-fleet.ts";

/** The line to hold: no idempotent request waits longer. Three times it on a machine that tests share; alone, bench `failover` asserts it. */
const SLOWEST_MS = 1_200 * 3;

const fleet = await openRunnersFleet();
let stage: FaultStage;

beforeAll(async () => {
  stage = await openFaultStage(fleet, "e2e-faults");
}, 180_000);

afterAll(() => (stage as FaultStage | undefined)?.close());

describe("no idempotent request is lost when", () => {
  test.each(faultsOf(fleet))("$about", async ({ seconds, strike, mend }) => {
    try {
      const { failed, requests, slowestMs, failures } = await stage.during(seconds, () => strike(stage));
      process.stdout.write(`${failed} of ${requests} failed, slowest ${slowestMs.toFixed(0)} ms\n`);
      expect(failed, JSON.stringify(failures.slice(0, 3))).toBe(0);
      expect(slowestMs).toBeLessThan(SLOWEST_MS);
    } finally {
      await mend(stage);
    }
  });
});
