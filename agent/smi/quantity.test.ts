import { describe, expect, test } from "vitest";
import { nanosOf, wholeNumbers } from "./quantity.ts";

describe("a quantity", () => {
  test.each<[unknown, bigint]>([
    ["1", 1_000_000_000n],
    [1, 1_000_000_000n],
    ["0", 0n],
    ["500m", 500_000_000n],
    ["0.5", 500_000_000n],
    [0.25, 250_000_000n],
    [".5", 500_000_000n],
    ["5.", 5_000_000_000n],
    ["+3", 3_000_000_000n],
    ["1k", 1_000_000_000_000n],
    ["1e3", 1_000_000_000_000n],
    ["1E-3", 1_000_000n],
    ["2Ki", 2_048_000_000_000n],
    ["7n", 7n],
    ["0.1u", 100n],
  ])("%j is read exactly", (text, nanos) => {
    expect(nanosOf(text)).toBe(nanos);
  });

  test.each([[""], ["-1"], ["."], ["m"], ["1 "], ["ten"], ["1mm"], ["0.1n"], ["1e999"], [null], [{}], [Number.NaN]])(
    "%j is none",
    (text) => {
      expect(nanosOf(text)).toBeUndefined();
    },
  );
});

describe("weights as whole numbers", () => {
  test.each([
    [
      ["90", "10"],
      [90n, 10n],
    ],
    [
      ["900m", "100m"],
      [900n, 100n],
    ],
    [
      ["1", "500m"],
      [1000n, 500n],
    ],
    [
      ["1", "1u"],
      [1_000_000n, 1n],
    ],
    [
      ["0", "1"],
      [0n, 1n],
    ],
    [[], []],
  ])("keep the ratio of %j", (written, whole) => {
    expect(wholeNumbers(written.map((text) => nanosOf(text) ?? -1n))).toEqual(whole);
  });
});
