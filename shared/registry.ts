// What members tell each other: the records of the global registry. Plain data, imported by hub and agent.
// A member writes only records whose `cluster` is itself; the hub refuses all else.
// The wire form is shared/proto/fleet.proto; in Redis a record is the canonical JSON of this shape.

export type Protocol = "TCP" | "UDP" | "SCTP";

export interface ExportedPort {
  /** Empty for a service with one unnamed port. */
  readonly name: string;
  readonly port: number;
  readonly protocol: Protocol;
  /** As written in the Service, or derived from the port's name (OSM's rule); empty when neither says. */
  readonly appProtocol: string;
}

/** One exported Service: changes when its shape changes, not when a pod comes or goes. */
export interface ServiceRecord {
  readonly kind: "service";
  readonly cluster: string;
  readonly namespace: string;
  readonly name: string;
  /** creationTimestamp of the ServiceExport: oldest wins a conflict (KEP-1645). */
  readonly exportedAtMs: number;
  readonly type: "ClusterSetIP" | "Headless";
  readonly ports: readonly ExportedPort[];
  /** Service accounts behind the service, sorted: what a client accepts as the server's identity. */
  readonly serviceAccounts: readonly string[];
}

export interface PortCapacity {
  readonly port: number;
  /** Endpoints that take requests now. */
  readonly ready: number;
  /** Endpoints that exist; the difference to ready becomes a phantom unhealthy endpoint (envoy-facts 11). */
  readonly total: number;
  /** Of those that are ready: pass their health checks and answer with errors. Absent: none. */
  readonly failing?: number;
}

/** How much of an exported service a member can serve: small, and all that a pod's coming or going changes. */
export interface CapacityRecord {
  readonly kind: "capacity";
  readonly cluster: string;
  readonly namespace: string;
  readonly name: string;
  readonly ports: readonly PortCapacity[];
}

export interface GatewayAddress {
  /** IP literal; a host name is resolved by the exporter. */
  readonly host: string;
  readonly port: number;
}

/** Where a member's gateways accept mTLS for its exported services. */
export interface GatewayRecord {
  readonly kind: "gateway";
  readonly cluster: string;
  readonly addresses: readonly GatewayAddress[];
  readonly region: string;
  readonly zone: string;
}

/** An SMI object whose author wants it in other members too. Whoever receives it reads it as strictly as an object of its own. */
export interface PolicyRecord {
  readonly kind: "policy";
  readonly cluster: string;
  /** `TrafficTarget`, `HTTPRouteGroup`, … */
  readonly policyKind: string;
  readonly namespace: string;
  readonly name: string;
  /** Members that get a copy, sorted; `*` alone: all others. */
  readonly members: readonly string[];
  /** The object as JSON, in the version that is stored: what it means and nothing else. */
  readonly manifest: string;
}

/** Policy is small; an object as large as etcd takes would be sent to every member again with each of its changes. */
export const maxManifestBytes = 32 * 1024;

export type RegistryRecord = ServiceRecord | CapacityRecord | GatewayRecord | PolicyRecord;

/** Key within the registry: `<cluster>/<kind>[/<namespace>[/<policy kind>]/<name>]`. Its first segment decides who may write it. */
export function recordKey(record: RegistryRecord): string {
  if (record.kind === "gateway") return `${record.cluster}/gateway`;
  const { cluster, kind, namespace, name } = record;
  return kind === "policy"
    ? `${cluster}/${kind}/${namespace}/${record.policyKind}/${name}`
    : `${cluster}/${kind}/${namespace}/${name}`;
}

/** A put carries the record; a delete only the key. `revision` orders all changes of one incarnation of the registry. */
export type RegistryChange =
  | { readonly op: "put"; readonly key: string; readonly revision: number; readonly record: RegistryRecord }
  | { readonly op: "delete"; readonly key: string; readonly revision: number };

/** Identifies one life of the hub's data; a different one (or a smaller revision) answers RESYNC. */
export interface Cursor {
  readonly incarnation: string;
  readonly revision: number;
}
