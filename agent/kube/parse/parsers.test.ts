import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Result } from "../../../shared/result.ts";
import { parseEndpointSlice } from "./endpoint-slice.ts";
import { parseGatewayService } from "./gateway-service.ts";
import { parseHttpRouteGroup } from "./http-route-group.ts";
import { parseNamespace } from "./namespace.ts";
import { parsePod } from "./pod.ts";
import { parseServiceExport } from "./service-export.ts";
import { parseService } from "./service.ts";
import { parseTcpRoute } from "./tcp-route.ts";
import { parseTrafficTarget } from "./traffic-target.ts";

type Json = Readonly<Record<string, unknown>>;

const metadata = { namespace: "shop", name: "cart", uid: "u1", creationTimestamp: "2026-01-02T03:04:05Z" };

function valueOf<T>(result: Result<T>): T {
  if (result.ok) return result.value;
  throw new Error(JSON.stringify(result.error));
}

/** `field: message` of every mistake. */
function mistakes(result: Result<unknown>): readonly string[] {
  return result.ok ? [] : result.error.map(({ field, message }) => `${field ?? ""}: ${message}`);
}

describe("a Service", () => {
  const service = (spec: Json, labels: Json = {}) => valueOf(parseService({ metadata: { ...metadata, labels }, spec }));

  it("takes the target port from the port where none is given", () => {
    const ports = [
      { port: 80 },
      { port: 81, targetPort: 0 },
      { port: 82, targetPort: "web" },
      { port: 83, targetPort: 8083, protocol: "UDP" },
    ];
    expect(service({ ports }).ports.map(({ targetPort, protocol }) => [targetPort, protocol])).toEqual([
      [80, "TCP"],
      [81, "TCP"],
      ["web", "TCP"],
      [8083, "UDP"],
    ]);
  });

  it.each([
    [{ clusterIPs: ["10.0.0.1"] }, "ClusterIP", ["10.0.0.1"]],
    [{ type: "LoadBalancer", clusterIPs: ["10.0.0.1", "fd00::1"] }, "ClusterIP", ["10.0.0.1", "fd00::1"]],
    [{ clusterIPs: ["None"] }, "Headless", []],
    [{ type: "ExternalName", externalName: "example.org" }, "ExternalName", []],
  ] as const)("%j is %s", (spec, type, clusterIps) => {
    expect(service(spec)).toMatchObject({ type, clusterIps });
  });

  it("is an import's only with both of our labels", () => {
    const both = { "isthmus.dev/import-namespace": "shop", "isthmus.dev/import-service": "db" };
    expect(service({}, both).importOf).toBe("shop/db");
    expect(service({}, { "isthmus.dev/import-service": "db" }).importOf).toBe("");
  });
});

describe("an EndpointSlice", () => {
  const slice = (more: Json, labels: Json = { "kubernetes.io/service-name": "cart" }) =>
    parseEndpointSlice({ metadata: { ...metadata, labels }, addressType: "IPv4", ...more });

  it("reads unknown conditions as ready, and serving as ready", () => {
    const endpoints = [
      { addresses: ["10.1.0.1"] },
      { addresses: ["10.1.0.2"], conditions: { ready: false } },
      {
        addresses: ["10.1.0.3"],
        conditions: { ready: false, serving: true, terminating: true },
        targetRef: { kind: "Pod", name: "p" },
        zone: "z",
      },
    ];
    expect(valueOf(slice({ endpoints }))?.endpoints).toEqual([
      { address: "10.1.0.1", ready: true, serving: true, terminating: false, podName: "", hostname: "", zone: "" },
      { address: "10.1.0.2", ready: false, serving: false, terminating: false, podName: "", hostname: "", zone: "" },
      { address: "10.1.0.3", ready: false, serving: true, terminating: true, podName: "p", hostname: "", zone: "z" },
    ]);
  });

  it("means nothing without a Service of this cluster, or with names for addresses", () => {
    expect(valueOf(slice({}, {}))).toBeUndefined();
    expect(valueOf(slice({}, { "multicluster.kubernetes.io/service-name": "cart" }))).toBeUndefined();
    expect(valueOf(slice({ addressType: "FQDN" }))).toBeUndefined();
  });

  it("leaves out a port without a number", () => {
    expect(valueOf(slice({ ports: [{ name: "any" }, { port: 80 }] }))?.ports).toEqual([{ name: "", port: 80 }]);
  });
});

describe("a Pod", () => {
  const pod = (more: { metadata?: Json; spec?: Json; status?: Json }) =>
    valueOf(
      parsePod({
        metadata: { ...metadata, ...more.metadata },
        spec: more.spec ?? {},
        status: { podIP: "10.1.0.1", ...more.status },
      }),
    );
  const owner = (kind: string, name: string) => [{ apiVersion: "apps/v1", kind, name, uid: "o", controller: true }];

  it.each([
    [owner("ReplicaSet", "cart-7d9f5c"), { "pod-template-hash": "7d9f5c" }, "Deployment", "cart"],
    [owner("ReplicaSet", "my-cart-7d9f5c"), { "pod-template-hash": "7d9f5c" }, "Deployment", "my-cart"],
    [owner("ReplicaSet", "cart"), {}, "ReplicaSet", "cart"],
    [owner("ReplicaSet", "cart-other"), { "pod-template-hash": "7d9f5c" }, "ReplicaSet", "cart-other"],
    [owner("ReplicaSet", "-7d9f5c"), { "pod-template-hash": "7d9f5c" }, "ReplicaSet", "-7d9f5c"],
    [owner("StatefulSet", "db"), { "pod-template-hash": "db" }, "StatefulSet", "db"],
    [[{ ...owner("ReplicaSet", "cart")[0], controller: false }], {}, "Pod", "cart"],
    [[], {}, "Pod", "cart"],
  ])("owned by %j with labels %j is of %s %s", (ownerReferences, labels, workloadKind, workloadName) => {
    expect(pod({ metadata: { ownerReferences, labels } })).toMatchObject({ workloadKind, workloadName });
  });

  it("that has finished is none, one that is going is terminating", () => {
    expect(pod({ status: { phase: "Succeeded" } })).toBeUndefined();
    expect(pod({ status: { phase: "Failed" } })).toBeUndefined();
    expect(pod({ metadata: { deletionTimestamp: "2026-01-02T03:04:05Z" } })?.terminating).toBe(true);
  });

  it("on the node's network has no address of its own", () => {
    expect(pod({ spec: { hostNetwork: true } })?.ip).toBe("");
  });

  it("names the ports of containers and of native sidecars", () => {
    const spec = {
      containers: [{ ports: [{ name: "http", containerPort: 8080 }, { containerPort: 9090 }] }],
      initContainers: [{ ports: [{ name: "admin", containerPort: 15000 }] }],
    };
    expect(pod({ spec })?.ports).toEqual([
      { name: "http", port: 8080 },
      { name: "admin", port: 15000 },
    ]);
  });

  it("is meshed by the label that the injector sets, and by nothing like it", () => {
    expect(pod({ metadata: { labels: { "isthmus.dev/injected": "true" } } })?.meshed).toBe(true);
    expect(pod({ metadata: { labels: { "isthmus.dev/injected": "yes" } } })?.meshed).toBe(false);
    expect(pod({ metadata: { annotations: { "isthmus.dev/injected": "true" } } })?.meshed).toBe(false);
  });
});

describe("a Namespace", () => {
  it.each([
    [{ "isthmus.dev/inject": "enabled" }, true],
    [{ "isthmus.dev/inject": "disabled" }, false],
    [{ "openservicemesh.io/monitored-by": "osm" }, true],
    [{ "openservicemesh.io/monitored-by": "" }, true],
    [{}, false],
  ])("with labels %j is in the mesh: %s", (labels, meshed) => {
    expect(valueOf(parseNamespace({ metadata: { name: "shop", labels } })).meshed).toBe(meshed);
  });
});

describe("a ServiceExport", () => {
  it("has the time of its creation, which decides conflicts", () => {
    expect(valueOf(parseServiceExport({ metadata }))?.createdAtMs).toBe(Date.UTC(2026, 0, 2, 3, 4, 5));
  });

  it("that is being deleted is withdrawn though a finalizer holds it", () => {
    expect(
      valueOf(parseServiceExport({ metadata: { ...metadata, deletionTimestamp: "2026-01-02T03:04:06Z" } })),
    ).toBeUndefined();
  });
});

describe("a TrafficTarget", () => {
  const account = (name: string, namespace?: string) => ({
    kind: "ServiceAccount",
    name,
    ...(namespace !== undefined && { namespace }),
  });
  const good = {
    destination: account("cart", "shop"),
    sources: [account("web")],
    rules: [{ kind: "HTTPRouteGroup", name: "g", matches: ["m"] }],
  };
  const target = (spec: Json, annotations: Json = {}) =>
    parseTrafficTarget({ metadata: { ...metadata, annotations }, spec });

  it("takes its own namespace where a source names none", () => {
    expect(valueOf(target(good))).toEqual({
      namespace: "shop",
      name: "cart",
      destination: { kind: "ServiceAccount", name: "cart", namespace: "shop" },
      sources: [{ kind: "ServiceAccount", name: "web", namespace: "shop" }],
      rules: [{ kind: "HTTPRouteGroup", name: "g", matches: ["m"] }],
      sourceClusters: [],
    });
  });

  it.each([
    ["", []],
    ["west, north,west", ["north", "west"]],
    ["west,*", ["*"]],
  ])("from clusters %j means %j", (annotation, clusters) => {
    expect(valueOf(target(good, { "isthmus.dev/source-clusters": annotation }))?.sourceClusters).toEqual(clusters);
  });

  it("grants nothing at all when any part of it is wrong, and names each part", () => {
    const annotations = { "isthmus.dev/source-clusters": "West" };
    const spec = {
      destination: account("cart", "other"),
      sources: [account("web"), { kind: "User", name: "x" }, "web", null],
      rules: [{ kind: "GRPCRoute", name: "g" }, { kind: "TCPRoute" }],
    };
    expect(mistakes(target(spec, annotations))).toEqual([
      'spec.destination.namespace: must be the target\'s own namespace, "shop"',
      "spec.sources[3]: is null",
      "spec.sources[1].kind: must be ServiceAccount",
      "spec.sources[2].kind: is missing",
      "spec.sources[2].name: is missing",
      "spec.sources[3].kind: is missing",
      "spec.sources[3].name: is missing",
      "spec.rules[0].kind: must be one of HTTPRouteGroup, TCPRoute, UDPRoute",
      "spec.rules[1].name: is missing",
      'metadata.annotations.isthmus.dev/source-clusters: "West" is not a cluster name',
    ]);
  });

  it("without sources or rules is a mistake, with empty ones it grants nobody", () => {
    expect(mistakes(target({ destination: good.destination }))).toEqual([
      "spec.sources: is missing",
      "spec.rules: is missing",
    ]);
    expect(valueOf(target({ ...good, sources: [], rules: [] }))?.sources).toEqual([]);
  });

  it("with more sources than the limit is refused as a whole", () => {
    const sources = Array.from({ length: 1001 }, (_, index) => account(`a${index}`));
    expect(mistakes(target({ ...good, sources }))).toEqual(["spec.sources: has 1001 items; at most 1000 are taken"]);
  });
});

describe("an HTTPRouteGroup", () => {
  const group = (matches: unknown) => parseHttpRouteGroup({ metadata, spec: { matches } });

  it("takes headers as one map or as a list of maps", () => {
    const asMap = group([{ name: "m", headers: { "X-B": "1", "x-a": "2" } }]);
    const asList = group([{ name: "m", headers: [{ "X-B": "1" }, { "x-a": "2" }] }]);
    expect(valueOf(asMap)).toEqual(valueOf(asList));
    expect(valueOf(asMap)?.matches[0]).toEqual({
      name: "m",
      pathRegex: "",
      methods: [],
      headers: [
        { name: "x-a", valueRegex: "2" },
        { name: "x-b", valueRegex: "1" },
      ],
    });
  });

  it.each([
    [[{ pathRegex: "/a" }], "spec.matches[0].name: is missing"],
    [[{ name: "m" }, { name: "m" }], 'spec.matches[1].name: "m" is used twice'],
    [
      [{ name: "m", pathRegex: "(?=a)" }],
      "spec.matches[0].pathRegex: is not an RE2 pattern: look-around is not in RE2 at 0",
    ],
    [[{ name: "m", pathRegex: 5 }], "spec.matches[0].pathRegex: must be a text"],
    [[{ name: "m", pathRegex: "a".repeat(65_536) }], "spec.matches[0].pathRegex: is longer than 1024 bytes"],
    [
      [{ name: "m", methods: ["get"] }],
      "spec.matches[0].methods[0]: must be one of * GET HEAD PUT POST DELETE CONNECT OPTIONS TRACE PATCH",
    ],
    [[{ name: "m", methods: "GET" }], "spec.matches[0].methods: must be a list"],
    [[{ name: "m", headers: "x" }], "spec.matches[0].headers: must be a map"],
    [[{ name: "m", headers: { "a b": "x" } }], 'spec.matches[0].headers: "a b" is not a header name'],
    [[{ name: "m", headers: { a: ["x"] } }], 'spec.matches[0].headers: must map "a" to a text'],
    [[{ name: "m", headers: { a: "(" } }], "spec.matches[0].headers.a: is not an RE2 pattern: unbalanced ( at 0"],
    [[null], "spec.matches[0]: is null"],
    [{}, "spec.matches: must be a list"],
    [undefined, "spec.matches: is missing"],
  ])("%j is refused: %s", (matches, mistake) => {
    expect(mistakes(group(matches))).toContain(mistake);
  });

  it("is refused when its patterns are too large together", () => {
    const matches = Array.from({ length: 100 }, (_, index) => ({ name: `m${index}`, pathRegex: "a".repeat(1000) }));
    expect(mistakes(group(matches))).toEqual([
      "spec.matches: patterns take 100000 bytes together; at most 65536 are taken",
    ]);
  });
});

describe("a TCPRoute", () => {
  const route = (spec: unknown) => parseTcpRoute({ metadata, spec });

  it.each([
    [undefined, [{ name: "", ports: [] }]],
    [{}, [{ name: "", ports: [] }]],
    [{ matches: { name: "m" } }, [{ name: "m", ports: [] }]],
    [{ matches: { ports: [] } }, [{ name: "", ports: [] }]],
    [{ matches: { name: "m", ports: [3306, 6446] } }, [{ name: "m", ports: [3306, 6446] }]],
    [{ matches: [{ name: "a", ports: [1] }] }, [{ name: "a", ports: [1] }]],
  ])("%j means %j", (spec, matches) => {
    expect(valueOf(route(spec))?.matches).toEqual(matches);
  });

  it.each([
    "x",
    { matches: "x" },
    { matches: [null] },
    { matches: ["x"] },
    { matches: { ports: "80" } },
    { matches: { ports: [0] } },
    { matches: { ports: ["80"] } },
  ])("%j never opens every port", (spec) => {
    expect(route(spec).ok).toBe(false);
  });
});

describe("the gateway's Service", () => {
  it("has the addresses of its load balancer, IP or name", () => {
    const ingress = [{ ip: "198.18.0.7" }, { hostname: "lb.example.org" }, {}];
    const service = { metadata, spec: { ports: [{ port: 15443 }] }, status: { loadBalancer: { ingress } } };
    expect(valueOf(parseGatewayService(service))).toMatchObject({
      hosts: ["198.18.0.7", "lb.example.org"],
      port: 15443,
    });
  });
});

describe("any parser", () => {
  const parsers = {
    parseService,
    parseEndpointSlice,
    parsePod,
    parseNamespace,
    parseServiceExport,
    parseTrafficTarget,
    parseHttpRouteGroup,
    parseTcpRoute,
    parseGatewayService,
  };
  const keys = [
    "metadata",
    "spec",
    "status",
    "name",
    "namespace",
    "labels",
    "annotations",
    "matches",
    "rules",
    "sources",
    "destination",
    "ports",
    "port",
    "endpoints",
    "addresses",
    "headers",
    "kind",
    "__proto__",
    "constructor",
  ];

  it.each(Object.entries(parsers))(
    "%s never throws and names a code for each mistake, whatever the object",
    (_name, parse) => {
      const { tree } = fc.letrec((tie) => ({
        tree: fc.oneof(
          { maxDepth: 6 },
          fc.constantFrom<unknown>(null, true, 0, -1, 70_000, 1.5, "", "x", "\ud800"),
          fc.array(tie("tree"), { maxLength: 3 }),
          fc.dictionary(fc.constantFrom(...keys), tie("tree"), { maxKeys: 5 }),
        ),
      }));
      fc.assert(
        fc.property(tree, (object) => {
          const result = parse(object);
          if (!result.ok) expect(result.error.every(({ code }) => code.startsWith("ISTHMUS_"))).toBe(true);
        }),
        { numRuns: 300 },
      );
    },
  );

  it("does not let an object reach a prototype", () => {
    const object: unknown = JSON.parse(
      '{"metadata":{"name":"a","namespace":"b","labels":{"__proto__":"x"}},"spec":{"selector":{"__proto__":"y"}}}',
    );
    const service = valueOf(parseService(object));
    expect(Object.hasOwn(service.selector, "__proto__")).toBe(true);
    expect(({} as Json)["x"]).toBeUndefined();
  });

  it("lists at most sixteen mistakes of one object", () => {
    const matches = Array.from({ length: 100 }, () => ({ pathRegex: "(" }));
    expect(mistakes(parseHttpRouteGroup({ metadata, spec: { matches } }))).toHaveLength(16);
  });
});
