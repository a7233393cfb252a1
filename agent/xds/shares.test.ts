import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { destination, dividedShares, type Part } from "./shares.ts";

const part = (weight: number, ...shares: readonly (readonly [string, number])[]): Part => ({
  weight,
  shares: shares.map(([cluster, share]) => ({ cluster, weight: share })),
});
const text = (parts: readonly Part[]) =>
  dividedShares(parts)
    .map(({ cluster, weight }) => `${cluster}=${weight}`)
    .join(" ");

describe("what a split gives its backends", () => {
  it.each([
    ["a ratio in lowest terms", [part(1000, ["a", 1]), part(500, ["b", 1])], "a=2 b=1"],
    ["nothing to a weight of 0", [part(1, ["a", 1]), part(0, ["b", 1])], "a=1 b=0"],
    ["shares of a share", [part(90, ["a", 1], ["a-plain", 2]), part(10, ["b", 1])], "a=3 a-plain=6 b=1"],
    ["the whole share to the first of two clusters without pods", [part(1, ["a", 0], ["a-plain", 0])], "a=1"],
  ])("is %s", (_what, parts, wanted) => {
    expect(text(parts)).toBe(wanted);
  });

  it("stays within what Envoy adds up, and what has a weight keeps one", () => {
    const shares = dividedShares([part(4_294_967_295, ["a", 1]), part(4_294_967_295, ["b", 7]), part(1, ["c", 1])]);
    expect(shares.reduce((sum, { weight }) => sum + weight, 0)).toBeLessThanOrEqual(4_294_967_295);
    expect(shares.every(({ weight }) => weight > 0)).toBe(true);
  });

  const anyPart = fc.record({
    weight: fc.nat({ max: 1000 }),
    shares: fc.array(fc.record({ cluster: fc.constant("c"), weight: fc.nat({ max: 20 }) }), {
      minLength: 1,
      maxLength: 2,
    }),
  });

  it("is exact whatever the weights and pods are", () => {
    fc.assert(
      fc.property(fc.array(anyPart, { minLength: 1, maxLength: 4 }), (parts) => {
        fc.pre(parts.some(({ weight }) => weight > 0));
        const shares = dividedShares(parts);
        const sum = shares.reduce((all, { weight }) => all + weight, 0);
        const wanted = parts.reduce((all, { weight }) => all + weight, 0);
        let place = 0;
        for (const { weight, shares: of } of parts) {
          const count = of.some((one) => one.weight > 0) ? of.length : 1;
          const got = shares.slice(place, (place += count)).reduce((all, one) => all + one.weight, 0);
          expect(got * wanted).toBe(weight * sum);
        }
      }),
    );
  });
});

describe("a destination", () => {
  it("names one cluster where one takes all, and weights where several do", () => {
    expect(destination(dividedShares([part(1, ["a", 1]), part(0, ["b", 1])]))).toEqual({ cluster: "a" });
    expect(destination(dividedShares([part(1, ["a", 1]), part(3, ["b", 1])]))).toEqual({
      weighted_clusters: {
        clusters: [
          { name: "a", weight: 1 },
          { name: "b", weight: 3 },
        ],
      },
    });
  });
});
