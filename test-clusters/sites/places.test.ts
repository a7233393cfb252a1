import { describe, expect, it } from "vitest";
import { parseLoopbackRange } from "../../agent/site/loopback-range.ts";
import { planSites, SITES, SLOTS, socketsOf } from "./places.ts";

const names = ["east", "west", "north", "south"];

describe("the places of runs side by side", () => {
  const all = Array.from({ length: SLOTS }, (_, slot) => planSites(slot, names));

  it("never meet: neither a socket nor a range is in two runs", () => {
    const sockets = all.flatMap((places) => [...socketsOf(places), places.guard]);
    expect(new Set(sockets.map(({ address, port }) => `${address}:${port}`)).size).toBe(sockets.length);
    const ranges = all.flatMap(({ sites }) => sites.map(({ loopbackRange }) => parseLoopbackRange(loopbackRange)));
    expect(ranges).toHaveLength(SLOTS * SITES);
    expect(new Set(ranges.map(({ first }) => first)).size).toBe(ranges.length);
  });

  it("are not made for more than fit", () => {
    expect(() => planSites(SLOTS, names)).toThrow("no slot");
    expect(() => planSites(0, [...names, "more"])).toThrow("at most");
  });
});
