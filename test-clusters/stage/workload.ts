// Manifests of small workloads for scenarios: the shop program under any name, with what a test wants around it. Plain
// Kubernetes, SMI and MCS objects, exactly as a user would write them.
import type { Manifest } from "./fleet-under-test.ts";

export interface WorkloadOptions {
  readonly namespace: string;
  readonly name: string;
  readonly image: string;
  readonly replicas?: number;
  /** Name of the Service's port and its protocol by OSM's rules; `http` when not given. */
  readonly appProtocol?: string;
  /** Raw TCP echo on 9000 beside HTTP; `banner`: the server speaks first. */
  readonly tcp?: "echo" | "banner";
  /** gRPC echo on 50051 beside HTTP. */
  readonly grpc?: boolean;
  /** gRPC echo on 9444 under TLS of its own, with this pair (PEM); no port of its Service leads there. */
  readonly tls?: { readonly keyPem: string; readonly certPem: string };
  readonly annotations?: Readonly<Record<string, string>>;
  /** Of its pods, beside `app`. */
  readonly labels?: Readonly<Record<string, string>>;
  /** The pod's weight when a node has too much to do; `10m` when not given. */
  readonly cpuRequest?: string;
  /** What the pod may hold; `192Mi` when not given. A caller that makes hundreds of requests a second holds all that wait. */
  readonly memoryLimit?: string;
}

export const HTTP_PORT = 8080;
export const TCP_PORT = 9000;
export const GRPC_PORT = 50_051;
export const TLS_PORT = 9444;

export function namespaceManifest(name: string, meshed = true): Manifest {
  const labels = meshed ? { "isthmus.dev/inject": "enabled" } : {};
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
}

function environment({ name, tcp, grpc, tls }: WorkloadOptions): readonly Manifest[] {
  const podName = { name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } };
  const tcpPort = tcp === undefined ? [] : [{ name: "SHOP_TCP_PORT", value: String(TCP_PORT) }];
  const banner = tcp === "banner" ? [{ name: "SHOP_TCP_BANNER", value: "true" }] : [];
  const grpcPort = grpc === true ? [{ name: "SHOP_GRPC_PORT", value: String(GRPC_PORT) }] : [];
  const ownTls = tls && { SHOP_TLS_PORT: String(TLS_PORT), SHOP_TLS_KEY: tls.keyPem, SHOP_TLS_CERT: tls.certPem };
  const tlsPort = Object.entries(ownTls ?? {}).map(([key, value]) => ({ name: key, value }));
  return [podName, { name: "SHOP_SERVICE", value: name }, ...tcpPort, ...banner, ...grpcPort, ...tlsPort];
}

function deployment(options: WorkloadOptions): Manifest {
  const { namespace, name, image, replicas = 1, annotations = {}, cpuRequest = "10m", memoryLimit = "192Mi" } = options;
  const labels = { ...options.labels, app: name };
  // patient: on a machine that is busy with other tests an application that serves must not count as gone
  const probe = {
    httpGet: { path: "/healthz", port: HTTP_PORT },
    periodSeconds: 1,
    timeoutSeconds: 10,
    failureThreshold: 6,
  };
  const container = {
    name: "app",
    image,
    args: ["/app/dist/deploy/shop/main.js"],
    env: environment(options),
    readinessProbe: probe,
    resources: { requests: { cpu: cpuRequest, memory: "48Mi" }, limits: { memory: memoryLimit } },
  };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { namespace, name },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels, annotations },
        spec: { serviceAccountName: name, containers: [container], terminationGracePeriodSeconds: 5 },
      },
    },
  };
}

/** ServiceAccount, Deployment and Service of one name. */
export function workload(options: WorkloadOptions): readonly Manifest[] {
  const { namespace, name, appProtocol = "http", tcp, grpc } = options;
  const tcpProtocol = tcp === "banner" ? "tcp-server-first" : "tcp";
  const ports = [
    { name: "web", port: HTTP_PORT, targetPort: HTTP_PORT, appProtocol },
    ...(tcp === undefined ? [] : [{ name: "raw", port: TCP_PORT, targetPort: TCP_PORT, appProtocol: tcpProtocol }]),
    ...(grpc === true ? [{ name: "rpc", port: GRPC_PORT, targetPort: GRPC_PORT, appProtocol: "grpc" }] : []),
  ];
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace, name } },
    deployment(options),
    { apiVersion: "v1", kind: "Service", metadata: { namespace, name }, spec: { selector: { app: name }, ports } },
  ];
}

export function serviceExport(namespace: string, name: string): Manifest {
  return { apiVersion: "multicluster.x-k8s.io/v1beta1", kind: "ServiceExport", metadata: { namespace, name } };
}

export interface GrantOptions {
  readonly namespace: string;
  readonly name: string;
  readonly to: string;
  readonly from: readonly string[];
  /** Annotation isthmus.dev/source-clusters. */
  readonly sourceClusters?: string;
  readonly rule: { readonly kind: "HTTPRouteGroup" | "TCPRoute"; readonly name: string };
}

export function trafficTarget({ namespace, name, to, from, sourceClusters, rule }: GrantOptions): Manifest {
  const annotations = sourceClusters === undefined ? {} : { "isthmus.dev/source-clusters": sourceClusters };
  return {
    apiVersion: "access.smi-spec.io/v1alpha3",
    kind: "TrafficTarget",
    metadata: { namespace, name, annotations },
    spec: {
      destination: { kind: "ServiceAccount", name: to, namespace },
      sources: from.map((account) => ({ kind: "ServiceAccount", name: account, namespace })),
      rules: [rule],
    },
  };
}

export interface HttpMatch {
  readonly name: string;
  readonly pathRegex?: string;
  readonly methods?: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
}

export function httpRouteGroup(namespace: string, name: string, matches: readonly HttpMatch[]): Manifest {
  const metadata = { namespace, name };
  return { apiVersion: "specs.smi-spec.io/v1alpha4", kind: "HTTPRouteGroup", metadata, spec: { matches } };
}

export function tcpRoute(namespace: string, name: string, ports: readonly number[]): Manifest {
  const metadata = { namespace, name };
  return { apiVersion: "specs.smi-spec.io/v1alpha4", kind: "TCPRoute", metadata, spec: { matches: { ports } } };
}

/** The same object, copied to other members. */
export function replicated(manifest: Manifest, members: string): Manifest {
  const metadata = manifest["metadata"] as { readonly annotations?: Readonly<Record<string, string>> };
  const annotations = { ...metadata.annotations, "isthmus.dev/replicate": members };
  return { ...manifest, metadata: { ...metadata, annotations } };
}

/** A Service of the ports that `workload` opens. Without a selector it has no pods: the root of a split. */
export function service(namespace: string, name: string, selector?: Readonly<Record<string, string>>): Manifest {
  const ports = [
    { name: "web", port: HTTP_PORT, targetPort: HTTP_PORT, appProtocol: "http" },
    { name: "raw", port: TCP_PORT, targetPort: TCP_PORT, appProtocol: "tcp-server-first" },
    { name: "rpc", port: GRPC_PORT, targetPort: GRPC_PORT, appProtocol: "grpc" },
  ];
  const spec = selector === undefined ? { ports } : { ports, selector };
  return { apiVersion: "v1", kind: "Service", metadata: { namespace, name }, spec };
}

export interface SplitOptions {
  readonly namespace: string;
  readonly name: string;
  readonly service: string;
  /** Weights by backend. */
  readonly backends: Readonly<Record<string, number>>;
  /** Names of HTTPRouteGroups. */
  readonly matches?: readonly string[];
}

export function trafficSplit({ namespace, name, service: root, backends, matches = [] }: SplitOptions): Manifest {
  return {
    apiVersion: "split.smi-spec.io/v1alpha4",
    kind: "TrafficSplit",
    metadata: { namespace, name },
    spec: {
      service: root,
      backends: Object.entries(backends).map(([backend, weight]) => ({ service: backend, weight })),
      ...(matches.length === 0 ? {} : { matches: matches.map((group) => ({ kind: "HTTPRouteGroup", name: group })) }),
    },
  };
}

export interface NamespaceWords {
  /** Whether its workloads are called without a grant. */
  readonly permissive?: boolean;
  /** Whether its workloads may call what is no service of the mesh. */
  readonly egress?: boolean;
}

/** A Namespace of the mesh that says these things and nothing else; the agent's own is not injected. */
export function namespaceSaying(name: string, words: NamespaceWords): Manifest {
  const labels = name === "isthmus-system" ? {} : { "isthmus.dev/inject": "enabled" };
  const annotations = Object.fromEntries(Object.entries(words).map(([key, on]) => [`isthmus.dev/${key}`, String(on)]));
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels, annotations } };
}

/** Says of a namespace whether its workloads are called without a grant. */
export function permissiveNamespace(name: string, permissive: boolean): Manifest {
  return namespaceSaying(name, { permissive });
}

/** As OSM's users have it, with more than is read here. */
export function meshConfig(namespace: string, traffic: Readonly<Record<string, boolean>>): Manifest {
  return {
    apiVersion: "config.openservicemesh.io/v1alpha2",
    kind: "MeshConfig",
    metadata: { namespace, name: "osm-mesh-config" },
    spec: {
      traffic: { ...traffic, outboundIPRangeExclusionList: [] },
      sidecar: { logLevel: "error", configResyncInterval: "0s" },
      certificate: { serviceCertValidityDuration: "24h" },
    },
  };
}

/** What `kubectl apply -f -` takes. */
export function manifestList(items: readonly Manifest[]): string {
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}
