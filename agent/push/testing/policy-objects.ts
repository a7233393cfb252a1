// SMI objects as a watch gives them, good ones and every kind of bad ones, put through the agent's own stores: what cannot be
// read is a problem of its object and no input of the mesh.
import type { Problem } from "../../../shared/result.ts";
import type { MeshInputs } from "../../ir/inputs.ts";
import { parseHttpRouteGroup } from "../../kube/parse/http-route-group.ts";
import { parseTcpRoute } from "../../kube/parse/tcp-route.ts";
import { parseTrafficSplit } from "../../kube/parse/traffic-split.ts";
import { parseTrafficTarget } from "../../kube/parse/traffic-target.ts";
import { createStore, type Parse } from "../../kube/store.ts";

export type RawObject = Readonly<Record<string, unknown>>;

export interface ReadPolicies {
  readonly inputs: Pick<MeshInputs, "trafficTargets" | "httpRouteGroups" | "tcpRoutes" | "trafficSplits">;
  readonly problems: readonly Problem[];
}

/** Keeps its stores, as the agent does: a second reading gives the same record for the same object. */
export function createPolicyReader(): (objects: readonly RawObject[]) => ReadPolicies {
  const store = <R>(kind: string, parse: Parse<R>) =>
    createStore({ kind, parse, onChange: () => undefined, aside: () => undefined });
  const stores = {
    TrafficTarget: store("TrafficTarget", parseTrafficTarget),
    HTTPRouteGroup: store("HTTPRouteGroup", parseHttpRouteGroup),
    TCPRoute: store("TCPRoute", parseTcpRoute),
    TrafficSplit: store("TrafficSplit", parseTrafficSplit),
  };
  return (objects) => {
    for (const [kind, { sink }] of Object.entries(stores)) {
      sink.begin();
      sink.page(objects.filter((object) => object["kind"] === kind));
      sink.commit();
    }
    return {
      inputs: {
        trafficTargets: stores.TrafficTarget.records(),
        httpRouteGroups: stores.HTTPRouteGroup.records(),
        tcpRoutes: stores.TCPRoute.records(),
        trafficSplits: stores.TrafficSplit.records(),
      },
      problems: Object.values(stores).flatMap((each) => each.problems()),
    };
  };
}

function object(
  apiVersion: string,
  kind: string,
  name: string,
  { spec, annotations = {} }: { readonly spec: unknown; readonly annotations?: object },
): RawObject {
  const metadata = { namespace: "shop", name, uid: `${kind}-${name}`, resourceVersion: "1", annotations };
  return { apiVersion, kind, metadata: { ...metadata, creationTimestamp: "2026-01-01T00:00:00Z" }, spec };
}

export const target = (name: string, spec: unknown, annotations = {}): RawObject =>
  object("access.smi-spec.io/v1alpha3", "TrafficTarget", name, { spec, annotations });
export const group = (name: string, matches: unknown): RawObject =>
  object("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", name, { spec: { matches } });
const route = (name: string, spec: unknown) => object("specs.smi-spec.io/v1alpha4", "TCPRoute", name, { spec });
const split = (name: string, spec: unknown, version = "v1alpha4") =>
  object(`split.smi-spec.io/${version}`, "TrafficSplit", name, { spec });

const account = (name: string, namespace = "shop") => ({ kind: "ServiceAccount", name, namespace });
const opened = { destination: account("cart"), sources: [account("evil")] };
const rule = (name: string, matches: readonly string[] = []) => ({ kind: "HTTPRouteGroup", name, matches });

/** `count` targets, each for a client of its own, on one group. */
export function goodPolicies(count: number): readonly RawObject[] {
  const matches = [{ name: "read", pathRegex: "/items/[0-9]+", methods: ["GET"] }];
  return [
    group("good", matches),
    ...Array.from({ length: count }, (_, at) =>
      target(`client-${at}`, { ...opened, sources: [account(`client-${at}`)], rules: [rule("good", ["read"])] }),
    ),
  ];
}

const pattern = (pathRegex: string) => [
  group("poison", [{ name: "a", pathRegex }]),
  target("poison", { ...opened, rules: [rule("poison")] }),
];
const many = <T>(count: number, make: (at: number) => T) => Array.from({ length: count }, (_, at) => make(at));

/** What it is, the objects, and a code that says why; none of them may change anything for anybody else. */
export const poison: readonly (readonly [string, readonly RawObject[], string])[] = [
  ["a pattern that ends too early", pattern("/a("), "ISTHMUS_REGEX"],
  ["a pattern with a look-ahead, which RE2 has not", pattern("/(?=a)"), "ISTHMUS_REGEX"],
  ["a pattern with a back reference", pattern("/(a)\\1"), "ISTHMUS_REGEX"],
  ["a pattern with too many repetitions", pattern("/a{1001}"), "ISTHMUS_REGEX"],
  ["a pattern whose repetitions multiply", pattern("/((a{100}){100}){100}"), "ISTHMUS_REGEX"],
  ["a pattern with a range from z to a", pattern("/[z-a]"), "ISTHMUS_REGEX"],
  ["a pattern of more than 1,024 bytes", pattern(`/${"a".repeat(1_024)}`), "ISTHMUS_OBJECT_LIMIT"],
  ["a header's pattern that ends too early", [group("poison", [{ name: "a", headers: { x: "[" } }])], "ISTHMUS_REGEX"],
  ["a header that is none", [group("poison", [{ name: "a", headers: { "x y\r\n": "a" } }])], "ISTHMUS_OBJECT_FIELD"],
  ["headers that are a number", [group("poison", [{ name: "a", headers: 7 }])], "ISTHMUS_OBJECT_FIELD"],
  ["a method that is a pattern", [group("poison", [{ name: "a", methods: ["GET|POST"] }])], "ISTHMUS_OBJECT_FIELD"],
  ["matches of one name", [group("poison", [{ name: "a" }, { name: "a" }])], "ISTHMUS_OBJECT_FIELD"],
  ["matches that are null", [group("poison", [null, null])], "ISTHMUS_OBJECT_FIELD"],
  ["no matches", [group("poison", undefined)], "ISTHMUS_OBJECT_FIELD"],
  [
    "1.4 MiB of matches",
    [
      group(
        "poison",
        many(10_000, (at) => ({ name: `m${at}`, pathRegex: `/${"a".repeat(110)}` })),
      ),
    ],
    "ISTHMUS_OBJECT_LIMIT",
  ],
  [
    "64 KiB of patterns",
    [
      group(
        "poison",
        many(500, (at) => ({ name: `m${at}`, pathRegex: `/${"a".repeat(140)}` })),
      ),
    ],
    "ISTHMUS_OBJECT_LIMIT",
  ],
  ["10,000 rules", [target("poison", { ...opened, rules: many(10_000, () => rule("good")) })], "ISTHMUS_OBJECT_LIMIT"],
  [
    "10,000 sources",
    [target("poison", { ...opened, sources: many(10_000, (at) => account(`a${at}`)), rules: [rule("good")] })],
    "ISTHMUS_OBJECT_LIMIT",
  ],
  ["a spec that is a list", [target("poison", [])], "ISTHMUS_OBJECT_FIELD"],
  [
    "a destination in another namespace",
    [target("poison", { ...opened, destination: account("vault", "bank"), rules: [rule("good")] })],
    "ISTHMUS_OBJECT_FIELD",
  ],
  [
    "a rule that climbs into another namespace",
    [target("poison", { ...opened, rules: [rule("../bank/cart")] })],
    "ISTHMUS_OBJECT_FIELD",
  ],
  [
    "a source whose name ends one principal and begins another",
    [target("poison", { ...opened, sources: [account("web/ns/bank/sa/vault")], rules: [rule("good")] })],
    "ISTHMUS_OBJECT_FIELD",
  ],
  [
    "clusters that are none",
    [target("poison", { ...opened, rules: [rule("good")] }, { "isthmus.dev/source-clusters": "west, Not!" })],
    "ISTHMUS_OBJECT_FIELD",
  ],
  [
    "a destination port that is none",
    [target("poison", { ...opened, rules: [rule("good")] }, { "isthmus.dev/destination-port": "0" })],
    "ISTHMUS_OBJECT_FIELD",
  ],
  ["a group that does not exist", [target("poison", { ...opened, rules: [rule("gone")] })], "ISTHMUS_UNRESOLVED_RULE"],
  [
    "a match that does not exist",
    [target("poison", { ...opened, rules: [rule("good", ["gone"])] })],
    "ISTHMUS_UNRESOLVED_MATCH",
  ],
  ["a port that is none", [route("poison", { matches: { ports: [0] } })], "ISTHMUS_OBJECT_FIELD"],
  [
    "a split by a negative weight",
    [split("poison", { service: "cart", backends: [{ service: "a", weight: -1 }] })],
    "ISTHMUS_OBJECT_FIELD",
  ],
  [
    "a split by a weight that is no quantity",
    [split("poison", { service: "cart", backends: [{ service: "a", weight: "ten" }] }, "v1alpha1")],
    "ISTHMUS_SMI_VERSION",
  ],
  [
    "a split whose root is its own backend",
    [split("poison", { service: "cart", backends: [{ service: "cart", weight: 1 }] })],
    "ISTHMUS_SPLIT_CYCLE",
  ],
  [
    "a split to a service of another namespace",
    [split("poison", { service: "cart", backends: [{ service: "vault.bank", weight: 1 }] })],
    "ISTHMUS_SPLIT_NAMESPACE",
  ],
  ["a name that leaves its folder", [group("../../etc/passwd", [{ name: "a" }])], "ISTHMUS_OBJECT_FIELD"],
];
