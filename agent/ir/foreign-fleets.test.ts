import { describe, expect, it } from "vitest";
import type { FleetDomain } from "../../shared/ids.ts";
import { parseTrafficTarget } from "../kube/parse/traffic-target.ts";
import { buildIr } from "./build.ts";
import { parseForeignSource } from "./foreign-fleets.ts";
import type { TrafficTargetInput } from "./inputs.ts";
import { aRouteGroup, aTarget, someInputs } from "./testing/objects.ts";

const beta = { fleetDomain: "beta.mesh" as FleetDomain, rootsPem: "(roots of beta)" };

function built(change: Partial<TrafficTargetInput>, foreignFleets = [beta]) {
  return buildIr(someInputs({ trafficTargets: [aTarget(change)], httpRouteGroups: [aRouteGroup()], foreignFleets }));
}

const said = ({ problems }: ReturnType<typeof built>) =>
  problems.filter(({ code }) => code === "ISTHMUS_SOURCE_FLEETS").map(({ message }) => message);

describe("a member of another fleet", () => {
  it.each([
    ["east.beta.mesh", { cluster: "east", fleet: "beta.mesh" }],
    ["*.beta.mesh", { cluster: "*", fleet: "beta.mesh" }],
  ])("is named by its trust domain, %s", (text, source) => {
    expect(parseForeignSource(text)).toEqual({ ok: true, value: source });
  });

  it.each(["east", "beta.mesh", "*", "*.mesh", "East.beta.mesh", "agent.beta.mesh", "e*.beta.mesh", "east..mesh", ""])(
    "is not %j",
    (text) => {
      expect(parseForeignSource(text).ok).toBe(false);
    },
  );
});

describe("a TrafficTarget with accounts of another fleet", () => {
  it("grants those alone, or beside those of its own fleet", () => {
    const account = { namespace: "shop", serviceAccount: "web" };
    expect(built({ sourceFleets: ["*.beta.mesh"] }).ir.grants[0]?.sources).toEqual([
      { ...account, cluster: "*", fleet: "beta.mesh" },
    ]);
    expect(built({ sourceFleets: ["east.beta.mesh"], sourceClusters: ["west"] }).ir.grants[0]?.sources).toEqual([
      { ...account, cluster: "west" },
      { ...account, cluster: "east", fleet: "beta.mesh" },
    ]);
  });

  it("says nothing when that fleet is federated, and what to do when it is not", () => {
    expect(said(built({ sourceFleets: ["east.beta.mesh"] }))).toEqual([]);
    expect(said(built({ sourceFleets: ["east.beta.mesh"] }, []))[0]).toMatch(/isthmus federate beta\.mesh/);
  });

  it("that means its own fleet is told where members are named", () => {
    expect(said(built({ sourceFleets: ["west.acme.mesh"] }))[0]).toMatch(/isthmus\.dev\/source-clusters/);
  });

  it("is read from its annotation, whole or not at all", () => {
    const account = { kind: "ServiceAccount", name: "web", namespace: "shop" };
    const object = (annotation: string) => ({
      metadata: { namespace: "shop", name: "cart", annotations: { "isthmus.dev/source-fleets": annotation } },
      spec: { destination: { ...account, name: "cart" }, sources: [account], rules: [{ kind: "TCPRoute", name: "t" }] },
    });
    expect(parseTrafficTarget(object("*.beta.mesh, east.gamma.mesh"))).toMatchObject({
      ok: true,
      value: { sourceFleets: ["*.beta.mesh", "east.gamma.mesh"] },
    });
    expect(parseTrafficTarget(object("east.beta.mesh,beta"))).toMatchObject({ ok: false });
  });
});
