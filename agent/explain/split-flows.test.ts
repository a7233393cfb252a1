// What a TrafficSplit that is tried cuts and gives back: calls go where it leads them, and it grants nothing.
import { describe, expect, it } from "vitest";
import { buildIr } from "../ir/build.ts";
import type { MeshInputs, TrafficSplitInput, TrafficTargetInput } from "../ir/inputs.ts";
import {
  aCapacityRecord,
  aGatewayRecord,
  anEndpoint,
  aPod,
  aRouteGroup,
  aService,
  aServiceRecord,
  aSlice,
  aTarget,
  someInputs,
} from "../ir/testing/objects.ts";
import { changeInWords, tryPolicy, type Trial } from "./trial.ts";

const nothing: Trial = { objects: [], modes: [], permissive: undefined };

describe("a split that is tried", () => {
  const account = (name: string) => ({ kind: "ServiceAccount", namespace: "shop", name });
  const read = "GET path /items";
  const grantTo = (name: string, matches: readonly string[] = ["read"]) =>
    aTarget({ name, destination: account(name), rules: [{ kind: "HTTPRouteGroup", name: "cart", matches }] });
  const split = (weights: Record<string, number>, matches: TrafficSplitInput["matches"] = []): TrafficSplitInput => ({
    ...{ namespace: "shop", name: "canary", service: "cart", createdAtMs: 0, matches },
    backends: Object.entries(weights).map(([service, weight]) => ({ service, weight })),
  });
  /** `cart` with the pods of one version, or of several; every service has its own account. */
  const mesh = (granted: readonly TrafficTargetInput[], change: Partial<MeshInputs> = {}) => {
    const names = ["cart", "cart-v1", "cart-v2"];
    const of = (name: string, index: number) => ({ name, podName: `${name}-1`, ip: `10.244.0.${index + 5}` });
    return someInputs({
      services: names.map((name, index) =>
        aService({ name, clusterIps: [`10.96.0.${index}`], selector: { app: name } }),
      ),
      slices: names
        .map(of)
        .map(({ name, podName, ip }) =>
          aSlice({ name: `${name}-abc`, service: name, endpoints: [anEndpoint({ address: ip, podName })] }),
        ),
      pods: names
        .map(of)
        .map(({ name, podName, ip }) => aPod({ name: podName, ip, serviceAccount: name, labels: { app: name } })),
      trafficTargets: granted,
      httpRouteGroups: [aRouteGroup()],
      ...change,
    });
  };
  const said = (inputs: MeshInputs, trial: Partial<Trial>) =>
    tryPolicy({ ir: buildIr(inputs).ir, inputs }, { ...nothing, ...trial })
      .changes.map(changeInWords)
      // what is called by a backend's own name is another port
      .filter(({ service }) => service === "shop/cart:80")
      .map(({ effect, caller, account: server, content, by, beside }) => [effect, caller, server, content, by, beside]);
  const trying = (record: TrafficSplitInput, remove = false): Partial<Trial> => ({
    objects: [{ list: "trafficSplits", record, remove }],
  });
  const tried = (
    granted: readonly TrafficTargetInput[],
    before: TrafficSplitInput | undefined,
    trial: Partial<Trial>,
  ) => said(mesh(granted, { trafficSplits: before === undefined ? [] : [before] }), trial);
  const both = [grantTo("cart"), grantTo("cart-v1")];
  const bySplit = "TrafficSplit shop/canary";
  const cutOfV2 = ["cut", "east/shop/web", "shop/cart-v2", read, bySplit, "the share of shop/cart-v2"];

  it("to a version that the caller has no grant for is a cut", () => {
    expect(tried([grantTo("cart")], undefined, trying(split({ "cart-v2": 1 })))).toEqual([cutOfV2]);
    expect(tried(both, undefined, trying(split({ "cart-v1": 90, "cart-v2": 10 })))).toEqual([cutOfV2]);
    expect(tried(both, split({ "cart-v1": 1 }), trying(split({ "cart-v1": 90, "cart-v2": 10 })))).toEqual([cutOfV2]);
  });

  it("to versions that the caller has every grant for changes nothing", () => {
    expect(tried(both, undefined, trying(split({ "cart-v1": 1 })))).toEqual([]);
    expect(tried(both, undefined, trying(split({ "cart-v1": 1, "cart-v2": 0 })))).toEqual([]);
    expect(tried(both, split({ "cart-v1": 1 }), trying(split({ "cart-v1": 1 }), true))).toEqual([]);
  });

  it("that is taken away, or gives no weight any more, gives back what it cut", () => {
    const backTo = (name: string) => [
      ...["allowed", "east/shop/web", `shop/${name}`, read, `TrafficTarget shop/${name}`],
      "the share of shop/cart-v2 before",
    ];
    const canary = split({ "cart-v1": 90, "cart-v2": 10 });
    expect(tried(both, canary, trying(canary, true))).toEqual([backTo("cart")]);
    expect(tried(both, canary, trying(split({ "cart-v1": 90, "cart-v2": 0 })))).toEqual([backTo("cart-v1")]);
    expect(tried(both, split({ "cart-v2": 1 }), trying(split({ "cart-v1": 1 })))).toEqual([backTo("cart-v1")]);
    expect(tried(both, canary, trying(split({ "cart-v1": 10, "cart-v2": 90 })))).toEqual([]);
  });

  it("that is in force is what a changed TrafficTarget is held to", () => {
    const objects = [{ list: "trafficTargets" as const, record: grantTo("cart-v2"), remove: false }];
    const gained = ["allowed", "east/shop/web", "shop/cart-v2", read, "TrafficTarget shop/cart-v2", ""];
    expect(tried(both, split({ "cart-v1": 90, "cart-v2": 10 }), { objects })).toEqual([gained]);
    expect(tried(both, split({ "cart-v1": 1 }), { objects })).toEqual([]);
    const root = [{ list: "trafficTargets" as const, record: grantTo("cart"), remove: true }];
    expect(tried(both, split({ "cart-v1": 1 }), { objects: root })).toEqual([]);
  });

  it("says what the version still lets through", () => {
    const granted = [grantTo("cart", []), grantTo("cart-v2")];
    expect(tried(granted, undefined, trying(split({ "cart-v2": 1 })))).toEqual([
      [
        ...["cut", "east/shop/web", "shop/cart-v2", "POST,PUT path /items", bySplit],
        `the share of shop/cart-v2; still granted: ${read}`,
      ],
    ]);
  });

  it("by matches sends calls to the root as well as to its backends", () => {
    const matches = [{ kind: "HTTPRouteGroup", name: "cart" }];
    expect(tried([grantTo("cart")], undefined, trying(split({ "cart-v2": 1 }, matches)))).toEqual([cutOfV2]);
    const root = [{ list: "trafficTargets" as const, record: grantTo("cart"), remove: true }];
    expect(tried(both, split({ "cart-v1": 1 }, matches), { objects: root })).toEqual([
      ["cut", "east/shop/web", "shop/cart", read, "TrafficTarget shop/cart", ""],
    ]);
    // a group that is not there matches nothing
    const nowhere = [{ kind: "HTTPRouteGroup", name: "none" }];
    expect(tried([grantTo("cart")], undefined, trying(split({ "cart-v2": 1 }, nowhere)))).toEqual([]);
  });

  it("by other matches than before may send any call elsewhere", () => {
    const matches = (name: string) => [{ kind: "HTTPRouteGroup", name }];
    const inputs = mesh([grantTo("cart")], {
      trafficSplits: [split({ "cart-v2": 1 }, matches("cart"))],
      httpRouteGroups: [
        aRouteGroup(),
        aRouteGroup({ name: "same" }),
        aRouteGroup({ name: "beta", matches: [{ name: "beta", pathRegex: "/beta", methods: [], headers: [] }] }),
      ],
    });
    expect(said(inputs, trying(split({ "cart-v2": 1 }, matches("same"))))).toEqual([]);
    expect(said(inputs, trying(split({ "cart-v2": 1 }, matches("beta"))))).toMatchObject([cutOfV2, { 0: "allowed" }]);
    expect(said(inputs, trying(split({ "cart-v2": 1 })))).toEqual([cutOfV2]);
  });

  it("divides the versions behind a root that the caller could call one of until now", () => {
    const inputs = mesh([grantTo("cart-v1")]);
    const [first, second] = inputs.slices.slice(1).flatMap(({ endpoints }) => endpoints);
    const all = aSlice({ name: "cart-all", endpoints: [first!, second!] });
    const changed = { ...inputs, slices: [all, ...inputs.slices.slice(1)] };
    expect(said(changed, trying(split({ "cart-v1": 90, "cart-v2": 10 })))).toEqual([cutOfV2]);
  });

  it("is not obeyed by other members, which call the root's own pods", () => {
    const everybody = { ...grantTo("cart"), sourceClusters: ["*"] };
    const exported = {
      exports: [{ namespace: "shop", name: "cart", createdAtMs: 1 }],
      remote: [aGatewayRecord()],
      ownGateways: [{ host: "198.18.1.10", port: 15443 }],
    };
    expect(said(mesh([everybody], exported), trying(split({ "cart-v2": 1 })))).toEqual([cutOfV2]);
    const west = { ...grantTo("cart"), sourceClusters: ["west"] };
    expect(said(mesh([west], exported), trying(split({ "cart-v2": 1 })))).toEqual([]);
    const objects = [{ list: "trafficTargets" as const, record: everybody, remove: true }];
    expect(said(mesh([everybody], exported), { objects })).toEqual([
      ["cut", "*/shop/web", "shop/cart", read, "TrafficTarget shop/cart", ""],
    ]);
  });

  it("to another member's pods is that member's to judge", () => {
    const remote = [aGatewayRecord(), aServiceRecord({ name: "cart-v3" }), aCapacityRecord({ name: "cart-v3" })];
    const inputs = mesh([grantTo("cart")], { remote });
    expect(said(inputs, trying(split({ "cart-v3": 1 })))).toEqual([]);
  });

  it("of an import is said of the import", () => {
    const remote = [aGatewayRecord(), aServiceRecord(), aCapacityRecord()];
    const canary = { ...split({ "cart-v1": 1 }), service: "cart.shop.svc.clusterset.local" };
    const inputs = mesh(both, { remote, trafficSplits: [canary] });
    const { changes } = tryPolicy(
      { ir: buildIr(inputs).ir, inputs },
      { ...nothing, ...trying({ ...canary, backends: [{ service: "cart-v2", weight: 1 }] }) },
    );
    expect(changes.map(changeInWords)).toMatchObject([
      { effect: "cut", service: "cart.shop.svc.clusterset.local:80", account: "shop/cart-v2", by: bySplit },
    ]);
  });
});
