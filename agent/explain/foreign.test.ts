// Accounts of other fleets in explanations and trials: a member of another fleet is never ours, whatever its name.
import { describe, expect, it } from "vitest";
import type { FleetDomain } from "../../shared/ids.ts";
import { buildIr } from "../ir/build.ts";
import type { MeshInputs, TrafficTargetInput } from "../ir/inputs.ts";
import { anEndpoint, aPod, aRouteGroup, aService, aSlice, aTarget, someInputs } from "../ir/testing/objects.ts";
import { answerServe } from "./findings.ts";
import { loadRe2 } from "./re2.ts";
import { changeInWords, tryPolicy } from "./trial.ts";

const beta = { fleetDomain: "beta.mesh" as FleetDomain, rootsPem: "(roots of beta)" };
const rules = [{ kind: "HTTPRouteGroup", name: "cart", matches: ["read"] }];
const ours = aTarget({ rules });
const theirs = aTarget({ rules, sourceFleets: ["east.beta.mesh"] });

function standing(target: TrafficTargetInput, foreignFleets: MeshInputs["foreignFleets"] = [beta]) {
  const inputs = someInputs({
    services: [aService()],
    slices: [aSlice({ endpoints: [anEndpoint()] })],
    pods: [aPod()],
    trafficTargets: [target],
    httpRouteGroups: [aRouteGroup()],
    foreignFleets,
  });
  return { ir: buildIr(inputs).ir, inputs };
}

function tried(before: ReturnType<typeof standing>, record: TrafficTargetInput) {
  const objects = [{ list: "trafficTargets" as const, record, remove: false }];
  return tryPolicy(before, { objects, modes: [], permissive: undefined })
    .changes.map(changeInWords)
    .map(({ effect, caller }) => [effect, caller]);
}

describe("a target whose source becomes an account of another fleet", () => {
  it("is a cut for ours, though member and account have the same names", () => {
    expect(tried(standing(ours), theirs)).toEqual([
      ["cut", "east/shop/web"],
      ["allowed", "east.beta.mesh/shop/web"],
    ]);
    expect(tried(standing(theirs), ours)).toEqual([
      ["cut", "east.beta.mesh/shop/web"],
      ["allowed", "east/shop/web"],
    ]);
  });

  it("is a cut for ours also when every member of that fleet is named", () => {
    expect(tried(standing(ours), { ...theirs, sourceFleets: ["*.beta.mesh"] })).toEqual([
      ["cut", "east/shop/web"],
      ["allowed", "*.beta.mesh/shop/web"],
    ]);
  });

  it("lets nobody of a fleet in that is not federated", () => {
    expect(tried(standing(ours, []), theirs)).toEqual([["cut", "east/shop/web"]]);
  });

  it("is a cut for the fleet's other members where one is named in place of all", () => {
    expect(tried(standing({ ...theirs, sourceFleets: ["*.beta.mesh", "east.beta.mesh"] }), theirs)).toEqual([
      ["cut", "*.beta.mesh/shop/web"],
    ]);
  });
});

describe("a refusal of our account", () => {
  it("says of which fleet's member the target speaks", async () => {
    const question = {
      ...{ cluster: "east", namespace: "shop", serviceAccount: "web" },
      ...{ targetNamespace: "shop", targetName: "cart", targetPort: 80, targetScope: "cluster" },
      ...{ accounts: [], http: { method: "GET", path: "/items", headers: [] } },
    };
    const { findings } = answerServe(standing(theirs), question, await loadRe2());
    expect(findings).toMatchObject([
      {
        why: "other-cluster",
        message: "TrafficTarget shop/cart names shop/web of east.beta.mesh, not of east",
        next: 'annotate TrafficTarget shop/cart: isthmus.dev/source-clusters: "east"',
      },
    ]);
  });
});
