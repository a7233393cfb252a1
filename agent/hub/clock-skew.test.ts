import { describe, expect, it } from "vitest";
import { checkTimes } from "../../shared/pki/chain.ts";
import { validityFrom } from "../../shared/pki/template.ts";
import { harmlessSkewMs, skewMs, skewProblems } from "./clock-skew.ts";

const minuteMs = 60_000;

/** A certificate made now by a clock that is `aheadMs` ahead, looked at by a right one. */
function usable(aheadMs: number, ttlMs: number): boolean {
  const nowMs = 1_000_000_000;
  const validity = validityFrom(nowMs + aheadMs, ttlMs, Number.MAX_SAFE_INTEGER);
  if (!validity.ok) throw new Error("no validity");
  return checkTimes(validity.value, nowMs).ok;
}

describe("clocks that differ", () => {
  it.each([-4, -1, 0, 1, 4])(
    "by %d min have no effect: what is made on one is valid on the other, and nothing is said",
    (minutes) => {
      for (const ttlMs of [60 * minuteMs, 7 * 24 * 60 * minuteMs]) expect(usable(minutes * minuteMs, ttlMs)).toBe(true);
      expect(skewProblems(minutes * minuteMs)).toEqual([]);
    },
  );

  it("by more than what certificates are backdated are a problem that says which way and what to do", () => {
    expect(usable(6 * minuteMs, 60 * minuteMs)).toBe(false);
    expect(skewProblems(6 * minuteMs)).toMatchObject([
      { code: "ISTHMUS_CLOCK_SKEW", message: expect.stringMatching(/6\.0 min ahead of .*NTP/) as string },
    ]);
    expect(skewProblems(-10 * minuteMs)[0]?.message).toMatch(/10\.0 min behind/);
  });

  it("are told before they do harm", () => {
    expect(usable(harmlessSkewMs + 1, 60 * minuteMs)).toBe(true);
    expect(skewProblems(harmlessSkewMs + 1)).toHaveLength(1);
  });

  it("are measured from the middle of a call, and not at all by a hub that tells no time", () => {
    expect(skewMs(1000, 3000, 400_000)).toBe(-398_000);
    expect(skewMs(1000, 3000, 2500)).toBe(0);
    expect(skewMs(1000, 3000, 0)).toBeUndefined();
  });
});
