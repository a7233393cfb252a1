import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allocate, noAllocations, type Allocations } from "./allocations.ts";

const names = fc.uniqueArray(
  fc.integer({ min: 0, max: 30 }).map((number) => `shop/w${number}`),
  { maxLength: 20 },
);
const BLOCKS = 12;

function after(last: Allocations, workloads: readonly string[], services: readonly string[] = workloads): Allocations {
  return allocate(last, { workloads, services, blocks: BLOCKS, freePorts: [] });
}

describe("numbers on a machine", () => {
  it("are never given twice, and stay with whoever has one, through any coming and going", () => {
    fc.assert(
      fc.property(fc.array(names, { maxLength: 12 }), (rounds) => {
        let last = noAllocations;
        let present: readonly string[] = [];
        for (const workloads of rounds) {
          const next = after(last, workloads);
          for (const book of [next.workloads, next.services]) {
            expect(new Set(Object.values(book)).size).toBe(Object.keys(book).length);
          }
          expect(Object.values(next.workloads).every((block) => block >= 0 && block < BLOCKS)).toBe(true);
          for (const name of workloads.filter((each) => present.includes(each))) {
            expect(next.workloads[name]).toBe(last.workloads[name]);
          }
          // as many as fit are served
          expect(workloads.filter((name) => next.workloads[name] !== undefined)).toHaveLength(
            Math.min(workloads.length, BLOCKS),
          );
          [last, present] = [next, workloads.filter((name) => next.workloads[name] !== undefined)];
        }
      }),
    );
  });

  it("wait for a workload that is away, until no other number is left", () => {
    const first = after(noAllocations, ["shop/a", "shop/b"]);
    const away = after(first, ["shop/b", "shop/c"]);
    expect(after(away, ["shop/a", "shop/b", "shop/c"]).workloads["shop/a"]).toBe(first.workloads["shop/a"]);
    const crowd = Array.from({ length: BLOCKS }, (_, index) => `shop/x${index}`);
    const full = after(away, crowd);
    expect(Object.keys(full.workloads).sort()).toEqual([...crowd].sort());
  });

  it("that lie outside a smaller range are given anew", () => {
    const wide = allocate(noAllocations, {
      workloads: ["shop/a", "shop/b", "shop/c"],
      services: [],
      blocks: 3,
      freePorts: [],
    });
    const narrow = allocate(wide, { workloads: ["shop/c"], services: [], blocks: 1, freePorts: [] });
    expect(narrow.workloads["shop/c"]).toBe(0);
  });

  it("of services begin behind the workload's own address", () => {
    expect(Object.values(after(noAllocations, [], ["shop/cart"]).services)).toEqual([1]);
  });

  it("without a loopback range are ports that were free, and stay", () => {
    const wish = { services: [], blocks: 0, freePorts: [15_100, 15_102] };
    const first = allocate(noAllocations, { ...wish, workloads: ["shop/a", "shop/b"] });
    expect(first.proxyPorts).toEqual({ "shop/a": 15_100, "shop/b": 15_102 });
    const next = allocate(first, { ...wish, workloads: ["shop/b", "shop/c"], freePorts: [15_103] });
    expect(next.proxyPorts).toEqual({ "shop/a": 15_100, "shop/b": 15_102, "shop/c": 15_103 });
  });

  it("are the very same value when nothing is missing", () => {
    const first = after(noAllocations, ["shop/a"]);
    expect(after(first, ["shop/a"]).workloads).toBe(first.workloads);
  });
});
