import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lifeOver, lifeStage } from "./age.ts";
import { renewalDueMs, validityFrom } from "./template.ts";

const hourMs = 3_600_000;

function issued(ttlMs: number) {
  const validity = validityFrom(0, ttlMs, Number.MAX_SAFE_INTEGER);
  if (!validity.ok) throw new Error("no validity");
  return validity.value;
}

describe("the life of a certificate", () => {
  it.each([
    [0, "fresh"],
    [0.5, "fresh"],
    [0.56, "half"],
    [0.75, "three-quarters"],
    [0.9, "nine-tenths"],
    [1, "ended"],
    [2, "ended"],
  ] as const)("at %d of it: %s", (part, stage) => {
    expect(lifeStage(issued(hourMs), part * hourMs, true)).toBe(stage);
  });

  it("one that nobody renews is told of at its half", () => {
    expect([0.4, 0.51].map((part) => lifeStage(issued(hourMs), part * hourMs, false))).toEqual(["fresh", "half"]);
  });

  it("no alarm comes before a renewal that is in time, whatever its jitter and its length", () => {
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(fc.integer({ min: 60, max: 10_000_000 }), random, (seconds, jitter) => {
        const validity = issued(seconds * 1000);
        expect(lifeStage(validity, renewalDueMs(validity, jitter), true)).toBe("fresh");
      }),
    );
  });

  it("backdating is no part of it", () => {
    expect(lifeOver(issued(60_000), 0)).toBe(0);
  });
});
