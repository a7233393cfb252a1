// The intermediate representation: what the mesh means (who may call whom, where, with which weight and priority),
// not how Envoy is told. Plain readonly data, sorted, no Kubernetes types, no protobuf. One value per push: CDS, EDS,
// LDS, RDS and SDS of a push come from the same one. Built by buildIr; read by agent/xds, by status and by `explain`.
import type { ClusterName, FleetDomain, SpiffeId, TrustDomain } from "../../shared/ids.ts";
import type { ExportedPort, GatewayAddress } from "../../shared/registry.ts";
import type { BoundInput, ForeignFleet } from "./inputs.ts";
import type { NamespaceSwitch } from "./namespace-switch.ts";

/** How a port is spoken: decides HCM or tcp_proxy, and whether inspectors may wait for the client's first byte. */
export type AppProtocol = "http" | "http2" | "grpc" | "tcp" | "tcp-server-first" | "tls";

export interface Origin {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

export interface LocalEndpoint {
  readonly address: string;
  /** Target port on the pod. */
  readonly port: number;
  readonly ready: boolean;
  readonly serviceAccount: string;
  readonly meshed: boolean;
  readonly podName: string;
  readonly workloadKind: string;
  readonly workloadName: string;
  readonly zone: string;
  /** Set for a pod with a DNS name of its own (`pod-0.svc.ns`): StatefulSets behind a headless service. */
  readonly hostname?: string;
  /** Ready, and answers with errors. Callers of the fleet's service go to another member that is well. */
  readonly failing?: true;
}

/** Another member as a source of endpoints for one port: its gateways, with the weight of its ready pods behind them. */
export interface RemoteBackend {
  readonly cluster: ClusterName;
  readonly gateways: readonly GatewayAddress[];
  readonly sni: string;
  readonly ready: number;
  readonly total: number;
  /** 0 = first choice. Local endpoints are 0 where they count at all. */
  readonly priority: number;
  readonly region: string;
  readonly zone: string;
}

export interface ServicePortIr {
  readonly name: string;
  readonly port: number;
  readonly protocol: AppProtocol;
  readonly local: readonly LocalEndpoint[];
  readonly remote: readonly RemoteBackend[];
  /** SPIFFE IDs a client accepts from whoever answers: exact, sorted, of all members that serve this port. */
  readonly identities: readonly SpiffeId[];
}

/**
 * A callable service. scope "cluster" is the Kubernetes Service as it is (`cluster.local` keeps its meaning, KEP-1645);
 * scope "fleet" is the import (`clusterset.local`): local endpoints at priority 0 when this member exports it too, then the others.
 */
export interface ServiceIr {
  /** `<scope>/<namespace>/<name>`: unique and sortable. */
  readonly key: string;
  readonly scope: "cluster" | "fleet";
  readonly namespace: string;
  readonly name: string;
  /** Addresses an application's connection shows before the redirect: cluster IPs; of a headless service the addresses of its endpoints. */
  readonly vips: readonly string[];
  /** Full names, valid from every namespace; the bare name is the caller's own namespace's and no part of a shared value. */
  readonly hostnames: readonly string[];
  readonly headless: boolean;
  readonly ports: readonly ServicePortIr[];
  readonly origin: Origin;
}

export interface HttpMatchIr {
  readonly pathRegex: string;
  readonly methods: readonly string[];
  readonly headers: readonly { readonly name: string; readonly valueRegex: string }[];
}

/** One TrafficTarget, resolved: principal AND port AND match. Grants are ORed. */
export interface GrantIr {
  readonly origin: Origin;
  /** Sorted. A source of every cluster is `spiffe://` + any cluster of the fleet: kept as namespace/serviceAccount with clusters ["*"]. */
  readonly sources: readonly SourceIr[];
  /** Destination service account in this cluster. */
  readonly destinationNamespace: string;
  readonly destinationServiceAccount: string;
  /** Empty: any port. */
  readonly ports: readonly number[];
  /** "any": no HTTP restriction (TCPRoute only). Otherwise ORed matches; none means that no HTTP request is granted. */
  readonly http: "any" | readonly HttpMatchIr[];
  /**
   * Set when the target has a TCPRoute: `ports` are granted to raw TCP too. Without it the grant speaks of HTTP alone and opens no raw TCP
   * port: bytes that are no HTTP request match no HTTPRouteGroup.
   */
  readonly tcp?: true;
}

export interface SourceIr {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** "*" = every member of the fleet; otherwise one cluster name. */
  readonly cluster: string;
  /** Set for an account of another fleet: its domain. */
  readonly fleet?: FleetDomain;
}

/** One service that takes a share of the calls to a root. */
export interface SplitBackendIr {
  /** ServiceIr.key */
  readonly service: string;
  /** A ratio to the other weights; 0 takes nothing. */
  readonly weight: number;
}

export interface SplitPortIr {
  /** Of the root; every backend has it too. */
  readonly port: number;
  /** Sorted by service; at least one has a weight. */
  readonly backends: readonly SplitBackendIr[];
}

/** One TrafficSplit in force: calls to the root go to the backends by weight. It grants nothing. */
export interface SplitIr {
  readonly origin: Origin;
  /** ServiceIr.key; no other split has it. */
  readonly root: string;
  /** "all": every call. Otherwise ORed: requests that match none of them go to the root itself. */
  readonly matches: "all" | readonly HttpMatchIr[];
  /** Ports of the root that are split, in its order. */
  readonly ports: readonly SplitPortIr[];
}

/** A workload port on which a server's sidecar takes requests. Derived per pod from services that select it. */
export interface InboundPortIr {
  readonly port: number;
  readonly protocol: AppProtocol;
}

/** What one pod serves, keyed by the class of pods that share all of it. */
export interface WorkloadIr {
  readonly namespace: string;
  readonly podName: string;
  readonly podUid: string;
  readonly podIp: string;
  readonly serviceAccount: string;
  readonly workloadKind: string;
  readonly workloadName: string;
  readonly inbound: readonly InboundPortIr[];
  readonly bound?: BoundInput;
}

/** A ServiceImport that should exist here, with what its derived Service must carry (KEP-1645: UDP and SCTP ports are kept). */
export interface ServiceImportIr {
  readonly namespace: string;
  readonly name: string;
  readonly type: "ClusterSetIP" | "Headless";
  readonly ports: readonly ExportedPort[];
  /** VIP of the derived Service once it has one; empty before, and for Headless. */
  readonly ips: readonly string[];
  /** Members that export it, sorted. */
  readonly clusters: readonly string[];
}

/** An exported service port as the gateway sees it: one filter chain per caller (peer). */
export interface ExportPortIr {
  readonly namespace: string;
  readonly service: string;
  readonly port: number;
  readonly endpoints: readonly LocalEndpoint[];
}

export interface PeerIr {
  readonly cluster: ClusterName;
  readonly trustDomain: TrustDomain;
}

export interface MeshIr {
  readonly fleetDomain: FleetDomain;
  readonly cluster: ClusterName;
  readonly trustDomain: TrustDomain;
  /** Of every namespace but the exceptions; ask isPermissive (modes.ts). */
  readonly permissive: boolean;
  /** Namespaces of the other mode, sorted. Absent: none. */
  readonly modeExceptions?: readonly string[];
  /** Whether what is no service of the mesh may be called; ask allowsEgress (egress.ts). Absent: from everywhere. */
  readonly egress?: NamespaceSwitch;
  readonly services: readonly ServiceIr[];
  readonly grants: readonly GrantIr[];
  readonly splits: readonly SplitIr[];
  readonly workloads: readonly WorkloadIr[];
  readonly exportPorts: readonly ExportPortIr[];
  /** Every other known member that is not revoked: one gateway chain per (export port x peer). */
  readonly peers: readonly PeerIr[];
  readonly revokedTrustDomains: readonly string[];
  /** Sorted by domain. Absent: none. */
  readonly foreignFleets?: readonly ForeignFleet[];
  readonly gatewayBind?: GatewayAddress;
}
