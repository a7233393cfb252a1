import { describe, expect, it } from "vitest";
import { chooseSlot, overlaps, planNetwork, RUN_SLOTS, slotOf } from "./addresses.ts";

describe("the network of a run", () => {
  it("gives every cluster a link and a pool inside the run's /20, and none overlaps another", () => {
    const network = planNetwork(3, ["east", "west", "north"]);
    const used = [
      ...network.clusters.flatMap((cluster) => [`${cluster.link.fabric}/30`, cluster.lbPool]),
      `${network.hubLink.fabric}/30`,
      `${network.hostLink.fabric}/30`,
    ];
    for (const [index, a] of used.entries()) {
      expect(overlaps(a, network.subnet), a).toBe(true);
      for (const b of used.slice(index + 1)) expect(overlaps(a, b), `${a} and ${b}`).toBe(false);
    }
  });

  it("is the same for the same slot, so that another process finds it again", () => {
    const network = planNetwork(7, ["east"]);
    expect(planNetwork(slotOf(network.subnet), ["east"])).toEqual(network);
  });

  it("lies in 198.18.0.0/15 for every slot", () => {
    for (let slot = 0; slot < RUN_SLOTS; slot += 1)
      expect(overlaps(planNetwork(slot, ["a"]).subnet, "198.18.0.0/15")).toBe(true);
    expect(planNetwork(RUN_SLOTS - 1, ["a"]).subnet).toBe("198.19.240.0/20");
  });

  it("refuses more clusters than it has links for", () => {
    expect(() =>
      planNetwork(
        0,
        Array.from({ length: 15 }, (_, index) => `c${index}`),
      ),
    ).toThrow("at most 14");
  });
});

describe("the free slot", () => {
  const route = (destination: string, device = "eth0") => ({ destination, device });

  it.each([
    { name: "is the first on an idle machine", routes: [route("default"), route("10.0.0.0/8")], taken: [], slot: 0 },
    { name: "is not one that another run has", routes: [route("198.18.0.0/20", "ist-a")], taken: [0], slot: 1 },
    { name: "is not one that the host routes elsewhere", routes: [route("198.18.0.0/18", "tun0")], taken: [], slot: 4 },
    { name: "is not one with a single foreign host route", routes: [route("198.18.5.5", "tun0")], taken: [], slot: 1 },
  ])("$name", ({ routes, taken, slot }) => {
    expect(chooseSlot(routes, new Set(taken))).toBe(slot);
  });

  it("is none when a route covers the whole range, and the route is named", () => {
    expect(() => chooseSlot([route("198.18.0.0/15", "wg0")], new Set())).toThrow("198.18.0.0/15 to wg0");
  });

  it("is none when every network is used by a run", () => {
    const all = new Set(Array.from({ length: RUN_SLOTS }, (_, slot) => slot));
    expect(() => chooseSlot([], all)).toThrow("used by other runs");
  });
});
