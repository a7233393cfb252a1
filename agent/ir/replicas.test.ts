import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import type { ClusterName } from "../../shared/ids.ts";
import { maxManifestBytes, type PolicyRecord } from "../../shared/registry.ts";
import { parseHttpRouteGroup } from "../kube/parse/http-route-group.ts";
import { parseTcpRoute } from "../kube/parse/tcp-route.ts";
import { parseTrafficSplit } from "../kube/parse/traffic-split.ts";
import { parseTrafficTarget } from "../kube/parse/traffic-target.ts";
import { manifestOf } from "../smi/manifest.ts";
import { anySmiObject } from "../smi/testing/arbitrary.ts";
import type { SmiKindName } from "../smi/versions.ts";
import { buildIr } from "./build.ts";
import { selectExports } from "./exports.ts";
import type { MeshInputs } from "./inputs.ts";
import { incomingPolicies } from "./replicas.ts";
import { aRouteGroup, aTarget, someInputs } from "./testing/objects.ts";

function policiesOut(inputs: Partial<MeshInputs>): readonly PolicyRecord[] {
  return selectExports(someInputs(inputs)).filter((record) => record.kind === "policy");
}

function codes(inputs: Partial<MeshInputs>): readonly string[] {
  return buildIr(someInputs(inputs))
    .problems.map(({ code }) => code)
    .filter((code) => code.startsWith("ISTHMUS_REPLICA"));
}

function aPolicy(record: Partial<PolicyRecord> = {}): PolicyRecord {
  const manifest = JSON.stringify(manifestOf("HTTPRouteGroup", aRouteGroup()));
  const names = { policyKind: "HTTPRouteGroup", namespace: "shop", name: "cart" };
  return { kind: "policy", cluster: "west", ...names, members: ["*"], manifest, ...record };
}

describe("an object that goes to other members", () => {
  const group = aRouteGroup();

  it("is published for those that it names, as it is meant", () => {
    const out = policiesOut({ httpRouteGroups: [{ ...group, replicate: ["north", "west"] }] });
    expect(out).toEqual([
      {
        ...{ kind: "policy", cluster: "east", policyKind: "HTTPRouteGroup", namespace: "shop", name: group.name },
        members: ["north", "west"],
        manifest: JSON.stringify(manifestOf("HTTPRouteGroup", group)),
      },
    ]);
  });

  test.each<[string, Partial<MeshInputs>]>([
    ["without the annotation", { httpRouteGroups: [group] }],
    ["that is a copy itself", { httpRouteGroups: [{ ...group, replicatedFrom: "west" }] }],
    ["that names only its own member", { httpRouteGroups: [{ ...group, replicate: ["east"] }] }],
  ])("is not one %s", (_what, inputs) => {
    expect(policiesOut(inputs)).toEqual([]);
  });

  it("that names no member's name says so and goes to the others", () => {
    const inputs = { httpRouteGroups: [{ ...group, replicate: ["Not!", "west"] }] };
    expect(policiesOut(inputs)).toMatchObject([{ members: ["west"] }]);
    expect(codes(inputs)).toEqual(["ISTHMUS_REPLICATE"]);
  });

  it("that is too large stays, and says so", () => {
    const matches = [{ name: "a", pathRegex: "/".repeat(maxManifestBytes), methods: [], headers: [] }];
    const inputs = { httpRouteGroups: [{ ...group, matches, replicate: ["*"] }] };
    expect([policiesOut(inputs), codes(inputs)]).toEqual([[], ["ISTHMUS_REPLICA_LIMIT"]]);
  });

  it("is the same record again as long as the object is", () => {
    const inputs = someInputs({ httpRouteGroups: [{ ...group, replicate: ["*"] }] });
    const { ir } = buildIr(inputs);
    const last = selectExports(inputs).at(-1);
    const next = { ...inputs, trafficTargets: [aTarget()] };
    buildIr(next, ir);
    expect(selectExports(next).at(-1)).toBe(last);
  });

  it("of any kind means there what it means here", () => {
    const parsers = {
      TrafficTarget: parseTrafficTarget,
      HTTPRouteGroup: parseHttpRouteGroup,
      TCPRoute: parseTcpRoute,
      UDPRoute: parseTcpRoute,
      TrafficSplit: parseTrafficSplit,
    };
    fc.assert(
      fc.property(anySmiObject, (object) => {
        const kind = object["kind"] as SmiKindName;
        const here = parsers[kind](object);
        if (!here.ok || here.value === undefined) return;
        const sent = manifestOf(kind, here.value as never) as { readonly metadata: object };
        const metadata = { ...sent.metadata, creationTimestamp: "2026-01-01T00:00:00Z" };
        expect(parsers[kind]({ ...sent, metadata })).toEqual(here);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("another member's object", () => {
  const places = (remote: readonly PolicyRecord[], more: Partial<MeshInputs> = {}) =>
    [...incomingPolicies(someInputs({ remote, ...more })).taken.values()].map(
      ({ cluster, name }) => `${cluster}/${name}`,
    );

  test.each<[string, Partial<PolicyRecord>, Partial<MeshInputs>, readonly string[]]>([
    ["for all is for us", {}, {}, ["west/cart"]],
    ["that names us is for us", { members: ["east", "north"] }, {}, ["west/cart"]],
    ["that names others is not", { members: ["north"] }, {}, []],
    ["of a kind that is no policy is not", { policyKind: "Secret" }, {}, []],
    ["of a member that is cut off is not", {}, { revokedTrustDomains: ["west.acme.mesh"] }, []],
    ["of a member that is believed is", {}, { policyFrom: ["west"] }, ["west/cart"]],
    ["of a member that is not believed is not", {}, { policyFrom: ["north"] }, []],
    ["is for nobody where nobody is believed", {}, { policyFrom: [] }, []],
  ])("%s", (_what, record, inputs, taken) => {
    expect(places([aPolicy(record)], inputs)).toEqual(taken);
  });

  it("gives way to an object of our own, whose author is told", () => {
    const own = aRouteGroup({ name: "cart" });
    expect(codes({ remote: [aPolicy()], httpRouteGroups: [own] })).toEqual(["ISTHMUS_REPLICA_LOCAL"]);
    expect(codes({ remote: [aPolicy()], httpRouteGroups: [{ ...own, replicatedFrom: "west" }] })).toEqual([]);
  });

  it("of two members under one name is the first member's, and both authors can know", () => {
    const remote = [aPolicy(), aPolicy({ cluster: "north" })];
    expect(places(remote)).toEqual(["north/cart"]);
    expect(codes({ remote })).toEqual(["ISTHMUS_REPLICA_TWICE"]);
  });

  it("never widens what a member may say: its name is the record's, not the manifest's", () => {
    const { taken } = incomingPolicies({ ...someInputs({ remote: [aPolicy()] }), cluster: "south" as ClusterName });
    expect([...taken.keys()]).toEqual(["HTTPRouteGroup shop/cart"]);
  });
});
