import { describe, expect, it } from "vitest";
import type { PolicyRecord } from "../shared/registry.ts";
import type { MeshInputs } from "./ir/inputs.ts";
import { aRouteGroup, aTarget, someInputs } from "./ir/testing/objects.ts";
import { createPolicyCopies } from "./policy-copies.ts";
import { manifestOf } from "./smi/manifest.ts";

const target = aTarget({ name: "replicated" });

function record(more: Partial<PolicyRecord> = {}): PolicyRecord {
  const manifest = JSON.stringify(manifestOf("TrafficTarget", target));
  const names = { policyKind: "TrafficTarget", namespace: "shop", name: "replicated" };
  return { kind: "policy", cluster: "west", ...names, members: ["*"], manifest, ...more };
}

function added(inputs: MeshInputs, copies = createPolicyCopies()) {
  return { inputs: copies.added(inputs, inputs), problems: copies.problems().map(({ code }) => code) };
}

describe("a site with policy of another member", () => {
  it("has it beside its own, as a copy", () => {
    const own = aTarget({ name: "own" });
    const { inputs } = added(someInputs({ trafficTargets: [own], remote: [record()] }));
    expect(inputs.trafficTargets).toEqual([own, { ...target, replicatedFrom: "west" }]);
  });

  it("keeps its own object of the name", () => {
    const own = { ...target, rules: [] };
    expect(added(someInputs({ trafficTargets: [own], remote: [record()] })).inputs.trafficTargets).toEqual([own]);
  });

  it("has the same lists again while nothing in them changed, whatever else the hub says", () => {
    const copies = createPolicyCopies();
    const sent = record();
    const inputs = someInputs({ trafficTargets: [aTarget({ name: "own" })], remote: [sent] });
    const first = added(inputs, copies).inputs;
    const gateway = { kind: "gateway", cluster: "west", addresses: [], region: "", zone: "" } as const;
    const second = added({ ...inputs, remote: [gateway, sent] }, copies).inputs;
    expect(second.trafficTargets).toBe(first.trafficTargets);
    expect(second.httpRouteGroups).toBe(inputs.httpRouteGroups);
  });

  it("loses it when its author takes it away", () => {
    const copies = createPolicyCopies();
    const own = [aTarget({ name: "own" })];
    added(someInputs({ trafficTargets: own, remote: [record()] }), copies);
    expect(added(someInputs({ trafficTargets: own }), copies).inputs.trafficTargets).toBe(own);
  });

  it.each<[string, string]>([
    ["is no JSON", "{"],
    ["is no object", "[]"],
    ["is nothing", "{}"],
    [
      "opens another namespace",
      JSON.stringify(
        manifestOf("TrafficTarget", {
          ...target,
          destination: { kind: "ServiceAccount", namespace: "bank", name: "vault" },
        }),
      ),
    ],
    [
      "holds a hostile pattern",
      JSON.stringify(
        manifestOf(
          "HTTPRouteGroup",
          aRouteGroup({ matches: [{ name: "a", pathRegex: "(?<=x)", methods: [], headers: [] }] }),
        ),
      ),
    ],
  ])("takes none that %s, says so, and keeps everything else", (_what, manifest) => {
    const policyKind =
      manifest.includes("HTTPRouteGroup") && manifest.includes("pathRegex") ? "HTTPRouteGroup" : "TrafficTarget";
    const remote = [record({ name: "bad", manifest, policyKind }), record()];
    const { inputs, problems } = added(someInputs({ remote }));
    expect(inputs.trafficTargets).toEqual([{ ...target, replicatedFrom: "west" }]);
    expect(inputs.httpRouteGroups).toEqual([]);
    expect(new Set(problems)).toEqual(new Set(["ISTHMUS_REPLICA_INVALID"]));
  });

  it("reads a name from the record alone: a manifest cannot take another place", () => {
    const manifest = JSON.stringify(manifestOf("TrafficTarget", { ...target, name: "own", namespace: "bank" }));
    const { inputs } = added(someInputs({ remote: [record({ manifest })] }));
    expect(inputs.trafficTargets.map(({ namespace, name }) => `${namespace}/${name}`)).toEqual(["shop/replicated"]);
  });
});
