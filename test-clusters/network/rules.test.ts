import { describe, expect, it } from "vitest";
import { planNetwork } from "./addresses.ts";
import { fabricRules, faultRules } from "./rules.ts";

describe("the fabric's rules", () => {
  it("for three clusters are the golden ones", async () => {
    const rules = fabricRules(planNetwork(0, ["east", "west", "north"]));
    await expect(rules).toMatchFileSnapshot("testdata/fabric-three.nft");
  });

  it("for one cluster name no other cluster's pool", async () => {
    await expect(fabricRules(planNetwork(0, ["east"]))).toMatchFileSnapshot("testdata/fabric-one.nft");
  });
});

describe("fault rules", () => {
  it("are golden for links, addresses and ports, each in both directions", async () => {
    const rules = faultRules([
      { kind: "cut", ends: [{ interface: "link0" }, { interface: "link1" }] },
      { kind: "blackhole", ends: [{ interface: "link0" }, { address: "198.18.2.129", port: 15443 }] },
      { kind: "blackhole", ends: [{ address: "10.244.0.7" }, { any: true }] },
      { kind: "cut", ends: [{ interface: "hub" }, { any: true }] },
    ]);
    await expect(rules).toMatchFileSnapshot("testdata/faults.nft");
  });

  it("are an empty table when all is healed", async () => {
    await expect(faultRules([])).toMatchFileSnapshot("testdata/faults-none.nft");
  });
});
