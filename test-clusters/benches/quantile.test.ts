import { describe, expect, it } from "vitest";
import { quantile, rounded } from "./quantile.ts";

describe("quantile", () => {
  it.each([
    { values: [5], q: 0.99, want: 5 },
    { values: [3, 1, 2], q: 0.5, want: 2 },
    { values: [1, 2, 3, 4], q: 0.5, want: 2 },
    { values: Array.from({ length: 200 }, (_, index) => index + 1), q: 0.99, want: 198 },
    { values: [1, 2], q: 0, want: 1 },
  ])("of $values.length values at $q is an observed one", ({ values, q, want }) => {
    expect(quantile(values, q)).toBe(want);
  });

  it("of nothing is an error, not a zero", () => {
    expect(() => quantile([], 0.5)).toThrow("no value was measured");
  });

  it("rounds for a report", () => {
    expect(rounded(1.26)).toBe(1.3);
  });
});
