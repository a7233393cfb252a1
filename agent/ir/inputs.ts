// What buildIr takes: records of Kubernetes (or site) objects reduced to what the mesh needs, and the fleet's registry.
// Made by agent/kube/parse (unknown -> Result), kept small: 88 B a record instead of 480 B an endpoint (performance.md 2e).
// Immutable: a changed object is a new record, so identity (===) tells what changed.
import type { ClusterName, FleetDomain } from "../../shared/ids.ts";
import type { GatewayAddress, RegistryRecord } from "../../shared/registry.ts";

export interface ServicePortInput {
  readonly name: string;
  readonly port: number;
  /** Number, or the name of a container port. */
  readonly targetPort: number | string;
  readonly protocol: "TCP" | "UDP" | "SCTP";
  readonly appProtocol: string;
}

export interface ServiceInput {
  readonly namespace: string;
  readonly name: string;
  /** Empty for a headless service. */
  readonly clusterIps: readonly string[];
  readonly type: "ClusterIP" | "Headless" | "ExternalName";
  readonly selector: Readonly<Record<string, string>>;
  readonly ports: readonly ServicePortInput[];
  /** `shop/cart` when this Service is the VIP that the agent itself made for an import (label isthmus.dev/import-of); else empty. */
  readonly importOf: string;
}

export interface EndpointInput {
  readonly address: string;
  readonly ready: boolean;
  /** Serving though terminating (KEP-1672): used only when nothing is ready. */
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly podName: string;
  readonly hostname: string;
  readonly zone: string;
  /** Ready, and answers with errors: used where nobody else is well. */
  readonly failing?: true;
}

export interface SliceInput {
  readonly namespace: string;
  readonly name: string;
  /** Name of the Service (label kubernetes.io/service-name). */
  readonly service: string;
  /** Port name -> target port number, resolved by Kubernetes or by the slice's author. */
  readonly ports: readonly { readonly name: string; readonly port: number }[];
  readonly endpoints: readonly EndpointInput[];
}

/** A workload whose sidecar is a process without a redirect: it binds where it is called, and where its application calls out. */
export interface BoundInput {
  /** Where the application answers for each port that the sidecar takes; `port` is the endpoint's port. */
  readonly applications: readonly {
    readonly port: number;
    readonly address: string;
    readonly applicationPort: number;
  }[];
  /** Addresses on which the sidecar takes calls from the mesh. */
  readonly inboundAddresses: readonly string[];
  /** Where the application's HTTP proxy requests are taken. */
  readonly httpProxy: { readonly address: string; readonly port: number };
  /** Canonical first address of the services' range, and this workload's block; both empty: no loopback addresses. */
  readonly loopback: { readonly rangeStart: string; readonly blockStart: string };
  /** Lower ports are not bound on loopback addresses: it would need a privilege. */
  readonly lowestPort: number;
  /** Its health check fails: what still comes over open connections is sent elsewhere. */
  readonly unready?: true;
  /**
   * Set where the application's connections are redirected to this address, whatever it dials. `range` is the CIDR of the site's loopback
   * addresses: what lies in it and is no service is refused.
   */
  readonly redirect?: { readonly address: string; readonly port: number; readonly range: string };
}

export interface PodInput {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly ip: string;
  readonly serviceAccount: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Named container ports, for named target ports. */
  readonly ports: readonly { readonly name: string; readonly port: number }[];
  /** Has our sidecar: label isthmus.dev/injected=true, set by the webhook. Others are called and answered in plaintext only in permissive mode. */
  readonly meshed: boolean;
  /** Deployment, StatefulSet, ...: ReplicaSets resolved to their Deployment. */
  readonly workloadKind: string;
  readonly workloadName: string;
  readonly ready: boolean;
  readonly terminating: boolean;
  /** Set for a workload of a site. */
  readonly bound?: BoundInput;
}

export interface AccountInput {
  readonly namespace: string;
  readonly name: string;
}

export interface ExportInput {
  readonly namespace: string;
  readonly name: string;
  readonly createdAtMs: number;
}

/** Another fleet whose bundle the hub states: never merged with ours, or with another's. */
export interface ForeignFleet {
  readonly fleetDomain: FleetDomain;
  readonly rootsPem: string;
}

export interface SubjectInput {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** What every SMI object says about other members. */
export interface PolicyInput {
  readonly namespace: string;
  readonly name: string;
  /** isthmus.dev/replicate, as written: members that get a copy, or "*". Absent: nobody. */
  readonly replicate?: readonly string[];
  /** The member whose object this is a copy of. */
  readonly replicatedFrom?: string;
}

export interface TrafficTargetInput extends PolicyInput {
  readonly namespace: string;
  readonly name: string;
  readonly destination: SubjectInput;
  readonly sources: readonly SubjectInput[];
  readonly rules: readonly { readonly kind: string; readonly name: string; readonly matches: readonly string[] }[];
  /** Annotation isthmus.dev/source-clusters: [] = local cluster only; ["*"] = every member. */
  readonly sourceClusters: readonly string[];
  /** The one port of the pods that it opens, whatever its rules open besides (access v1alpha1 and v1alpha2). */
  readonly destinationPort?: number;
  /** Annotation isthmus.dev/source-fleets: trust domains of other fleets, `east.beta.mesh` or `*.beta.mesh`. Absent: none. */
  readonly sourceFleets?: readonly string[];
}

export interface HttpMatchInput {
  readonly name: string;
  /** Empty: any path. RE2, anchored at the start only; never evaluated here. */
  readonly pathRegex: string;
  /** Empty or containing "*": any method. */
  readonly methods: readonly string[];
  /** ANDed; values are RE2 full matches. */
  readonly headers: readonly { readonly name: string; readonly valueRegex: string }[];
}

export interface HttpRouteGroupInput extends PolicyInput {
  readonly namespace: string;
  readonly name: string;
  readonly matches: readonly HttpMatchInput[];
}

export interface TcpRouteInput extends PolicyInput {
  readonly namespace: string;
  readonly name: string;
  readonly matches: readonly { readonly name: string; readonly ports: readonly number[] }[];
}

/** A Namespace that says something about permissive mode. */
export interface NamespaceModeInput {
  readonly namespace: string;
  /** As written: "true" or "false", or a mistake. */
  readonly permissive: string;
}

/** A Namespace that says whether its workloads may call what is no service of the mesh. */
export interface NamespaceEgressInput {
  readonly namespace: string;
  /** As written: "true" or "false", or a mistake. */
  readonly egress: string;
}

/** OSM's MeshConfig, as far as it means something here. */
export interface MeshConfigInput {
  readonly namespace: string;
  readonly name: string;
  /** `spec.traffic.enableEgress`; absent: it does not say. */
  readonly egress?: boolean;
  /** `spec.traffic.enablePermissiveTrafficPolicyMode`; absent: it does not say. */
  readonly permissive?: boolean;
  /** Of the pods that are made from now on. */
  readonly exclusions: ConfiguredExclusions;
  /** Fields that ask for something which does not exist here. */
  readonly unmet: readonly string[];
}

/** What no sidecar of the mesh sees. Ports are those of a connection's destination, ranges CIDR. */
export interface ConfiguredExclusions {
  readonly outboundPorts: readonly number[];
  readonly inboundPorts: readonly number[];
  readonly outboundRanges: readonly string[];
  /** Not empty: nothing else is redirected. */
  readonly outboundOnlyRanges: readonly string[];
}

/** Names as their author wrote them; who reads them resolves them within the split's own namespace. */
export interface TrafficSplitInput extends PolicyInput {
  readonly namespace: string;
  readonly name: string;
  /** `cart`, `cart.shop`, `cart.shop.svc.cluster.local`, with or without a trailing dot. */
  readonly service: string;
  /** In their author's order; weights are ratios of each other. */
  readonly backends: readonly { readonly service: string; readonly weight: number }[];
  /** HTTPRouteGroups of the namespace; none: every request is split. */
  readonly matches: readonly { readonly kind: string; readonly name: string }[];
  /** Of two splits of one service the older is in force. 0 where nobody knows (a site's manifest). */
  readonly createdAtMs: number;
}

/**
 * One immutable view of everything an agent knows. Arrays may be in any order; buildIr sorts. An array whose members did not
 * change should be the same array again: the indexes over it are remembered by its identity.
 */
export interface MeshInputs {
  readonly fleetDomain: FleetDomain;
  readonly cluster: ClusterName;
  readonly meshNamespaces: readonly string[];
  /** What the configuration says; Namespaces may say otherwise. */
  readonly permissive: boolean;
  /** Absent: none says anything. */
  readonly namespaceModes?: readonly NamespaceModeInput[];
  /** Whether workloads may call what is no service of the mesh, as the configuration says; Namespaces may say otherwise. Absent: they may. */
  readonly egress?: boolean;
  /** Which of them counts: agent/ir/mesh-config.ts. Absent: there is none. */
  readonly meshConfigs?: readonly MeshConfigInput[];
  /** Absent: none says anything. */
  readonly namespaceEgress?: readonly NamespaceEgressInput[];
  /** The agent's own: what it says of permissive mode and of egress is for the whole mesh. Absent: none does. */
  readonly systemNamespace?: string;
  readonly services: readonly ServiceInput[];
  readonly slices: readonly SliceInput[];
  readonly pods: readonly PodInput[];
  readonly exports: readonly ExportInput[];
  readonly trafficTargets: readonly TrafficTargetInput[];
  readonly httpRouteGroups: readonly HttpRouteGroupInput[];
  readonly tcpRoutes: readonly TcpRouteInput[];
  readonly trafficSplits: readonly TrafficSplitInput[];
  /** Members whose policy is copied here where they want it; `*`: every member's. Absent: every member's. */
  readonly policyFrom?: readonly string[];
  /** To find rules that name none. Absent: not known, nothing is said. */
  readonly udpRoutes?: readonly TcpRouteInput[];
  /** Every service account here, to find policy that names none. Absent: not known, nothing is said. */
  readonly serviceAccounts?: readonly AccountInput[];
  /** Records of other members (never our own). */
  readonly remote: readonly RegistryRecord[];
  readonly ownGateways: readonly GatewayAddress[];
  readonly revokedTrustDomains: readonly string[];
  /** Fleets whose workloads this one verifies, each by its own roots. Absent: none. */
  readonly foreignFleets?: readonly ForeignFleet[];
  /** Every namespace that exists here: a ServiceImport appears in all of them (KEP-1645). Absent: the mesh namespaces. */
  readonly namespaces?: readonly string[];
  /** Where this member is, published with its gateways. Absent: unknown. */
  readonly ownLocality?: { readonly region: string; readonly zone: string };
  /** Where the gateway listens. Absent: the gateway port of its pod. */
  readonly gatewayBind?: GatewayAddress;
}
