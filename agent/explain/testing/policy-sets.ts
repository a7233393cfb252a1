// Random policy sets over one small shop, and calls into it: few names, so that targets overlap, conflict and dangle often, and
// paths that sit on the edge of their patterns. The workloads are a site's, so that one Envoy can be all their sidecars.
import fc from "fast-check";
import type { MeshInputs, PodInput, TrafficSplitInput } from "../../ir/inputs.ts";
import {
  anEndpoint,
  aPod,
  aPort,
  aRouteGroup,
  aService,
  aSlice,
  aTarget,
  aTcpRoute,
  someInputs,
} from "../../ir/testing/objects.ts";
import type { CallHttp } from "../request.ts";
import type { Principal } from "../server.ts";

export const ports = { main: 8080, second: 8081, bytes: 9000 } as const;
/** Of the service `cart`; `bytes` is raw TCP. */
export const servicePorts = { 80: ports.main, 81: ports.second, 5432: ports.bytes } as const;
export type ServicePort = keyof typeof servicePorts;

export type SetCall = { readonly servicePort: ServicePort; readonly http: CallHttp } & (
  | /** By the sidecar of a caller of this member. */ { readonly by: "web" | "ops" }
    /** Straight to the server's sidecar with this certificate, as a gateway passes it on. */
  | { readonly as: Principal }
);

export interface PolicySet {
  readonly inputs: MeshInputs;
  readonly calls: readonly SetCall[];
}

/** Where the workloads of one set are; `application` serves all of them. */
export interface Place {
  /** Address of each workload. */
  readonly addressOf: (name: string) => string;
  readonly httpPort: number;
  readonly tcpPort: number;
}

/** `cart` is called; `shelf` takes its calls where a TrafficSplit says so; the others call. */
export const workloads = ["cart", "shelf", "web", "ops"] as const;
const namespaceOf: Readonly<Record<string, string>> = { cart: "shop", shelf: "shop", web: "shop", ops: "bank" };

const account = fc.constantFrom(
  { namespace: "shop", name: "web" },
  { namespace: "bank", name: "ops" },
  { namespace: "shop", name: "cart" },
  { namespace: "", name: "web" },
);

const pathRegex = fc.constantFrom(
  "",
  "/items",
  "/items$",
  "/items/[0-9]+",
  "/items/[0-9]+$",
  "/a|/b",
  "(/admin|/ops)(/.*)?$",
  ".*",
  "/(?i)Case",
  "[^/]*/items",
  "/x{2,3}y",
  "items",
  "/\\Qa.b\\E",
  "/a.b$",
);

const headers = fc.constantFrom(
  [],
  [],
  [{ name: "role", valueRegex: "admin|root" }],
  [{ name: "role", valueRegex: ".+" }],
  [
    { name: "role", valueRegex: "a" },
    { name: "user", valueRegex: "[a-z]+" },
  ],
  [{ name: "host", valueRegex: "cart\\.shop.*" }],
);

const match = fc.record({
  pathRegex,
  methods: fc.constantFrom([], ["*"], ["GET"], ["GET", "HEAD"], ["POST", "PUT"]),
  headers,
});

const group = fc.record({
  namespace: fc.constantFrom("shop", "shop", "bank"),
  name: fc.constantFrom("g0", "g1"),
  matches: fc
    .array(match, { minLength: 1, maxLength: 3 })
    .map((list) => list.map((each, index) => ({ ...each, name: `m${index}` }))),
});

const tcpRoute = fc.record({
  namespace: fc.constant("shop"),
  name: fc.constantFrom("r0", "r1"),
  matches: fc.constantFrom(
    [],
    [{ name: "m0", ports: [] }],
    [{ name: "m0", ports: [ports.bytes] }],
    [
      { name: "m0", ports: [ports.main] },
      { name: "m1", ports: [ports.bytes, ports.second] },
    ],
  ),
});

const rule = fc.oneof(
  fc.record({
    kind: fc.constant("HTTPRouteGroup"),
    name: fc.constantFrom("g0", "g1"),
    matches: fc.constantFrom([], [], ["m0"], ["m1"], ["m9"]),
  }),
  fc.record({
    kind: fc.constant("TCPRoute"),
    name: fc.constantFrom("r0", "r1"),
    matches: fc.constantFrom([], [], ["m0"], ["m1"]),
  }),
);

const target = fc.record({
  namespace: fc.constantFrom("shop", "shop", "shop", "bank"),
  name: fc.constantFrom("t0", "t1", "t2", "t3"),
  destination: fc.constantFrom("cart", "cart", "cart", "shelf", "web"),
  sources: fc.uniqueArray(account, {
    minLength: 1,
    maxLength: 2,
    selector: ({ namespace, name }) => `${namespace}/${name}`,
  }),
  rules: fc.array(rule, { minLength: 1, maxLength: 2 }),
  sourceClusters: fc.constantFrom<string[]>([], [], ["*"], ["west"], ["east", "west"]),
});

const path = fc.constantFrom(
  "/",
  "/items",
  "/items?page=2",
  "/itemsmore",
  "/items/7",
  "/items/7/more",
  "/items/seven",
  "/a/../items",
  "//items",
  "/%69tems",
  "/items%2f7",
  "/./items/..%5citems",
  "/admin",
  "/admin/x",
  "/administrator",
  "/ops",
  "/case",
  "/CASE",
  "/x/items",
  "/xxy",
  "/xxxxy",
  "/a.b",
  "/aXb",
  "/b",
);

const http: fc.Arbitrary<CallHttp> = fc.record({
  method: fc.constantFrom("GET", "GET", "POST", "HEAD", "DELETE"),
  path,
  headers: fc.constantFrom<Record<string, string>[]>(
    {},
    {},
    { role: "admin" },
    { role: "adm" },
    { role: "a", user: "anna" },
  ),
});

const principal = fc.constantFrom<Principal[]>(
  { cluster: "west", namespace: "shop", serviceAccount: "web" },
  { cluster: "west", namespace: "bank", serviceAccount: "ops" },
  { cluster: "east", namespace: "shop", serviceAccount: "ghost" },
);

const servicePort = fc.constantFrom<ServicePort[]>(80, 80, 81, 5432);
const call: fc.Arbitrary<SetCall> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ by: fc.constantFrom("web", "web", "ops"), servicePort, http }) },
  { weight: 1, arbitrary: fc.record({ as: principal, servicePort, http }) },
);

function byName<T extends { namespace: string; name: string }>(
  objects: fc.Arbitrary<T>,
  most: number,
): fc.Arbitrary<T[]> {
  return fc.uniqueArray(objects, { selector: ({ namespace, name }) => `${namespace}/${name}`, maxLength: most });
}

type Split = Pick<TrafficSplitInput, "backends" | "matches">;
const g0 = [{ kind: "HTTPRouteGroup", name: "g0" }];

/** With one backend that has a weight: where a call goes is no matter of luck. */
const splits: readonly (Split | undefined)[] = [
  ...[undefined, undefined, undefined],
  { backends: [{ service: "shelf", weight: 1 }], matches: [] },
  { backends: [{ service: "shelf.shop", weight: 3 }], matches: g0 },
  {
    backends: [
      { service: "cart", weight: 5 },
      { service: "shelf", weight: 0 },
    ],
    matches: [],
  },
];

const policy = fc.record({
  targets: byName(target, 4),
  groups: byName(group, 3),
  tcpRoutes: byName(tcpRoute, 2),
  permissive: fc.constantFrom(false, false, false, false, false, true),
  modes: fc.constantFrom<{ namespace: string; permissive: string }[][]>(
    ...[[], [], [], [{ namespace: "shop", permissive: "true" }], [{ namespace: "shop", permissive: "false" }]],
  ),
  split: fc.constantFrom(...splits),
  revoked: fc.constantFrom<string[]>([], [], [], ["west.acme.mesh"]),
  calls: fc.array(call, { minLength: 8, maxLength: 8 }),
});

export type Policy = typeof policy extends fc.Arbitrary<infer T> ? T : never;

/** The same sets for the same seed. */
export function randomPolicies(count: number, seed: number): readonly Policy[] {
  return fc.sample(policy, { numRuns: count, seed });
}

function pod(name: string, { addressOf, httpPort, tcpPort }: Place): PodInput {
  const address = addressOf(name);
  const at = (port: number, applicationPort: number) => ({ port, address: "127.0.0.1", applicationPort });
  const applications =
    name === "cart" || name === "shelf"
      ? [at(ports.main, httpPort), at(ports.second, httpPort), at(ports.bytes, tcpPort)]
      : [];
  return aPod({
    namespace: namespaceOf[name] ?? "shop",
    name: `${name}-1`,
    ip: address,
    serviceAccount: name,
    labels: { app: name },
    workloadName: name,
    bound: {
      applications,
      inboundAddresses: [address],
      httpProxy: { address, port: 15001 },
      loopback: { rangeStart: "", blockStart: "" },
      lowestPort: 1024,
    },
  });
}

export function policySet(drawn: Policy, place: Place): PolicySet {
  const named = { 80: "http", 81: "http-second", 5432: "tcp-bytes" } as const;
  const numbers = [80, 81, 5432] as const;
  const servicePortsOf = numbers.map((port) => aPort({ name: named[port], port, targetPort: servicePorts[port] }));
  const inputs = someInputs({
    meshNamespaces: ["shop", "bank"],
    permissive: drawn.permissive,
    namespaceModes: drawn.modes,
    services: [
      aService({ ports: servicePortsOf }),
      aService({ name: "shelf", clusterIps: ["10.96.0.11"], selector: { app: "shelf" }, ports: servicePortsOf }),
    ],
    slices: ["cart", "shelf"].map((name) =>
      aSlice({
        ...{ name: `${name}-abc`, service: name },
        ports: numbers.map((port) => ({ name: named[port], port: servicePorts[port] })),
        endpoints: [anEndpoint({ address: place.addressOf(name), podName: `${name}-1` })],
      }),
    ),
    pods: workloads.map((name) => pod(name, place)),
    trafficSplits:
      drawn.split === undefined
        ? []
        : [{ namespace: "shop", name: "canary", service: "cart", createdAtMs: 0, ...drawn.split }],
    trafficTargets: drawn.targets.map(({ destination, sources, ...rest }) =>
      aTarget({
        ...rest,
        destination: { kind: "ServiceAccount", namespace: rest.namespace, name: destination },
        sources: sources.map((source) => ({ kind: "ServiceAccount", ...source })),
      }),
    ),
    httpRouteGroups: drawn.groups.map(aRouteGroup),
    tcpRoutes: drawn.tcpRoutes.map(aTcpRoute),
    revokedTrustDomains: drawn.revoked,
  });
  return { inputs, calls: drawn.calls };
}
