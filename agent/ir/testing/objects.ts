// Builders for tests: one object of each input kind with plain defaults, so that a test names only what it is about.
// Never imported by what ships.
import type { ClusterName, FleetDomain } from "../../../shared/ids.ts";
import type { CapacityRecord, GatewayRecord, ServiceRecord } from "../../../shared/registry.ts";
import type {
  BoundInput,
  EndpointInput,
  HttpRouteGroupInput,
  MeshConfigInput,
  MeshInputs,
  PodInput,
  ServiceInput,
  ServicePortInput,
  SliceInput,
  TcpRouteInput,
  TrafficTargetInput,
} from "../inputs.ts";

export function aPort(port: Partial<ServicePortInput> = {}): ServicePortInput {
  return { name: "http", port: 80, targetPort: 8080, protocol: "TCP", appProtocol: "", ...port };
}

export function aService(service: Partial<ServiceInput> = {}): ServiceInput {
  return {
    namespace: "shop",
    name: "cart",
    clusterIps: ["10.96.0.10"],
    type: "ClusterIP",
    selector: { app: "cart" },
    ports: [aPort()],
    importOf: "",
    ...service,
  };
}

export function anEndpoint(endpoint: Partial<EndpointInput> = {}): EndpointInput {
  const terminating = endpoint.terminating ?? false;
  const ready = endpoint.ready ?? !terminating;
  return {
    address: "10.244.0.5",
    serving: ready,
    podName: "cart-1",
    hostname: "",
    zone: "a",
    ...endpoint,
    ready,
    terminating,
  };
}

export function aSlice(slice: Partial<SliceInput> = {}): SliceInput {
  return {
    namespace: "shop",
    name: "cart-abc",
    service: "cart",
    ports: [{ name: "http", port: 8080 }],
    endpoints: [anEndpoint()],
    ...slice,
  };
}

export function aBinding(binding: Partial<BoundInput> = {}): BoundInput {
  return {
    applications: [{ port: 8080, address: "127.0.0.1", applicationPort: 9090 }],
    inboundAddresses: ["127.64.16.0"],
    httpProxy: { address: "127.64.16.0", port: 15001 },
    loopback: { rangeStart: "127.64.0.0", blockStart: "127.64.16.0" },
    lowestPort: 1024,
    ...binding,
  };
}

export function aPod(pod: Partial<PodInput> = {}): PodInput {
  const name = pod.name ?? "cart-1";
  return {
    namespace: "shop",
    name,
    uid: `uid-${name}`,
    ip: "10.244.0.5",
    serviceAccount: "cart",
    labels: { app: "cart" },
    ports: [{ name: "web", port: 8080 }],
    meshed: true,
    workloadKind: "Deployment",
    workloadName: "cart",
    ready: true,
    terminating: false,
    ...pod,
  };
}

export function aTarget(target: Partial<TrafficTargetInput> = {}): TrafficTargetInput {
  return {
    namespace: "shop",
    name: "cart",
    destination: { kind: "ServiceAccount", namespace: "shop", name: "cart" },
    sources: [{ kind: "ServiceAccount", namespace: "shop", name: "web" }],
    rules: [{ kind: "HTTPRouteGroup", name: "cart", matches: [] }],
    sourceClusters: [],
    ...target,
  };
}

export function aMeshConfig(config: Partial<MeshConfigInput> = {}): MeshConfigInput {
  return {
    namespace: "isthmus-system",
    name: "osm-mesh-config",
    exclusions: { outboundPorts: [], inboundPorts: [], outboundRanges: [], outboundOnlyRanges: [] },
    unmet: [],
    ...config,
  };
}

export function aRouteGroup(group: Partial<HttpRouteGroupInput> = {}): HttpRouteGroupInput {
  return {
    namespace: "shop",
    name: "cart",
    matches: [
      { name: "read", pathRegex: "/items", methods: ["GET"], headers: [] },
      { name: "write", pathRegex: "/items", methods: ["POST", "PUT"], headers: [] },
    ],
    ...group,
  };
}

export function aTcpRoute(route: Partial<TcpRouteInput> = {}): TcpRouteInput {
  return { namespace: "shop", name: "db", matches: [{ name: "sql", ports: [5432] }], ...route };
}

export function aServiceRecord(record: Partial<ServiceRecord> = {}): ServiceRecord {
  return {
    kind: "service",
    cluster: "west",
    namespace: "shop",
    name: "cart",
    exportedAtMs: 1000,
    type: "ClusterSetIP",
    ports: [{ name: "http", port: 80, protocol: "TCP", appProtocol: "http" }],
    serviceAccounts: ["cart"],
    ...record,
  };
}

export function aCapacityRecord(record: Partial<CapacityRecord> = {}): CapacityRecord {
  return {
    kind: "capacity",
    cluster: "west",
    namespace: "shop",
    name: "cart",
    ports: [{ port: 80, ready: 2, total: 3 }],
    ...record,
  };
}

export function aGatewayRecord(record: Partial<GatewayRecord> = {}): GatewayRecord {
  return {
    kind: "gateway",
    cluster: "west",
    addresses: [{ host: "198.18.2.10", port: 15443 }],
    region: "eu",
    zone: "w1",
    ...record,
  };
}

/** An empty mesh of `east` in fleet `acme.mesh` with mesh namespace `shop`. */
export function someInputs(inputs: Partial<MeshInputs> = {}): MeshInputs {
  return {
    fleetDomain: "acme.mesh" as FleetDomain,
    cluster: "east" as ClusterName,
    meshNamespaces: ["shop"],
    permissive: false,
    services: [],
    slices: [],
    pods: [],
    exports: [],
    trafficTargets: [],
    httpRouteGroups: [],
    tcpRoutes: [],
    trafficSplits: [],
    remote: [],
    ownGateways: [],
    revokedTrustDomains: [],
    ...inputs,
  };
}

/** `services` services with `pods` pods each, one slice and one TrafficTarget per service; half of them exported here and by west. */
export function aLargeMesh(services: number, pods: number): MeshInputs {
  const names = Array.from({ length: services }, (_, index) => `svc-${index}`);
  const ip = (index: number, pod: number) => `10.${(index >> 8) + 1}.${index & 255}.${pod}`;
  return someInputs({
    services: names.map((name, index) =>
      aService({ name, clusterIps: [`10.96.${index >> 8}.${index & 255}`], selector: { app: name } }),
    ),
    slices: names.map((name, index) =>
      aSlice({
        name: `${name}-abc`,
        service: name,
        endpoints: Array.from({ length: pods }, (_, pod) =>
          anEndpoint({ address: ip(index, pod), podName: `${name}-${pod}` }),
        ),
      }),
    ),
    pods: names.flatMap((name, index) =>
      Array.from({ length: pods }, (_, pod) =>
        aPod({
          name: `${name}-${pod}`,
          ip: ip(index, pod),
          serviceAccount: name,
          labels: { app: name, "pod-template-hash": "5d5", tier: "web" },
          workloadName: name,
        }),
      ),
    ),
    exports: names
      .filter((_, index) => index % 2 === 0)
      .map((name) => ({ namespace: "shop", name, createdAtMs: 2000 })),
    trafficTargets: names.map((name) =>
      aTarget({ name, destination: { kind: "ServiceAccount", namespace: "shop", name } }),
    ),
    httpRouteGroups: [aRouteGroup()],
    remote: [
      aGatewayRecord(),
      ...names
        .filter((_, index) => index % 2 === 0)
        .flatMap((name) => [aServiceRecord({ name }), aCapacityRecord({ name })]),
    ],
    ownGateways: [{ host: "198.18.1.10", port: 15443 }],
  });
}
