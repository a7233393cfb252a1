// A service of the fleet: all members' exports of one namespace/name put together as KEP-1645 says. The oldest export
// wins what can have one value only (type, a port's meaning); ports are the union; nothing is cut off by a conflict.
// Read by imports.ts (endpoints, ServiceImports) and export-conditions.ts.
import type { ClusterName } from "../../shared/ids.ts";
import type { CapacityRecord, ExportedPort, GatewayRecord, ServiceRecord } from "../../shared/registry.ts";
import type { MeshInputs, ServiceInput } from "./inputs.ts";
import { keepList, recall, stage, topic, type Memory } from "./memo.ts";
import { compareText, objectKey } from "./order.ts";
import { ownExports, type OwnExport } from "./own-records.ts";
import { buildPeers } from "./peers.ts";
import { protocolFamily, protocolOf } from "./protocols.ts";
import type { LocalService } from "./services.ts";

export interface Constituent {
  readonly cluster: ClusterName;
  readonly record: ServiceRecord;
  readonly capacity: CapacityRecord | undefined;
  readonly gateway: GatewayRecord | undefined;
  /** Set on our own export. */
  readonly local: LocalService | undefined;
}

export interface UnionConflict {
  readonly reason: "PortConflict" | "TypeConflict";
  /** The younger member, whose wish does not hold. */
  readonly cluster: ClusterName;
  readonly message: string;
}

export interface FleetUnion {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly type: "ClusterSetIP" | "Headless";
  readonly ports: readonly ExportedPort[];
  /** Oldest export first; of two made in the same second the cluster name decides (creationTimestamp has no finer grain). */
  readonly constituents: readonly Constituent[];
  readonly conflicts: readonly UnionConflict[];
  /** The Service that the agent made to carry this import's VIP. */
  readonly derived: ServiceInput | undefined;
}

function compareAge(a: Constituent, b: Constituent): number {
  return a.record.exportedAtMs - b.record.exportedAtMs || compareText(a.cluster, b.cluster);
}

/**
 * A member answers a port of the union when it has the same number and protocol, whatever it calls it; but not when one
 * side would speak HTTP and the other bytes.
 */
export function servesPort(record: ServiceRecord, port: ExportedPort): boolean {
  const family = protocolFamily(protocolOf(port));
  return record.ports.some(
    (own) => own.port === port.port && own.protocol === port.protocol && protocolFamily(protocolOf(own)) === family,
  );
}

function describe(port: ExportedPort): string {
  const name = port.name === "" ? "unnamed" : port.name;
  return `${name} ${port.port}/${port.protocol}${port.appProtocol === "" ? "" : ` (${port.appProtocol})`}`;
}

function samePort(a: ExportedPort, b: ExportedPort): boolean {
  return a.name === b.name && a.port === b.port && a.protocol === b.protocol && a.appProtocol === b.appProtocol;
}

/** By name first, then by protocol and number. */
function takenBy(merged: readonly ExportedPort[], port: ExportedPort): ExportedPort | undefined {
  return (
    merged.find((known) => known.name === port.name) ??
    merged.find((known) => known.port === port.port && known.protocol === port.protocol)
  );
}

function comparePorts(a: ExportedPort, b: ExportedPort): number {
  return a.port - b.port || compareText(a.protocol, b.protocol);
}

function mergePorts(constituents: readonly Constituent[]): {
  ports: readonly ExportedPort[];
  conflicts: readonly UnionConflict[];
} {
  const ports: ExportedPort[] = [];
  const conflicts: UnionConflict[] = [];
  for (const { cluster, record } of constituents) {
    for (const port of [...record.ports].sort(comparePorts)) {
      const known = takenBy(ports, port);
      if (known === undefined) {
        ports.push(port);
      } else if (!samePort(known, port)) {
        const message = `port ${describe(port)} of ${cluster} conflicts with ${describe(known)} of an older export, which wins`;
        conflicts.push({ reason: "PortConflict", cluster, message });
      }
    }
  }
  return { ports: ports.sort(comparePorts), conflicts };
}

function typeConflicts(oldest: Constituent, constituents: readonly Constituent[]): readonly UnionConflict[] {
  return constituents
    .filter(({ record }) => record.type !== oldest.record.type)
    .map(({ cluster, record }) => ({
      reason: "TypeConflict" as const,
      cluster,
      message: `${cluster} exports type ${record.type}, ${oldest.cluster} exported ${oldest.record.type} first, which wins`,
    }));
}

function unionOf(
  constituents: readonly [Constituent, ...Constituent[]],
  derived: ServiceInput | undefined,
): FleetUnion {
  const [oldest] = constituents;
  const { ports, conflicts } = mergePorts(constituents);
  const { namespace, name, type } = oldest.record;
  return {
    key: `${namespace}/${name}`,
    namespace,
    name,
    type,
    ports,
    constituents,
    conflicts: [...conflicts, ...typeConflicts(oldest, constituents)],
    derived,
  };
}

interface RemoteIndex {
  readonly constituents: ReadonlyMap<string, readonly Constituent[]>;
}

function remoteIndex(inputs: MeshInputs, clusters: ReadonlySet<string>): RemoteIndex {
  const gateways = new Map<string, GatewayRecord>();
  const capacities = new Map<string, CapacityRecord>();
  const services: ServiceRecord[] = [];
  for (const record of inputs.remote) {
    if (!clusters.has(record.cluster)) continue;
    if (record.kind === "gateway") gateways.set(record.cluster, record);
    else if (record.kind === "capacity") capacities.set(`${record.cluster}/${objectKey(record)}`, record);
    else if (record.kind === "service") services.push(record);
  }
  const constituents = new Map<string, Constituent[]>();
  for (const record of services) {
    const key = objectKey(record);
    const capacity = capacities.get(`${record.cluster}/${key}`);
    const gateway = gateways.get(record.cluster);
    // `clusters` holds parsed names only
    const constituent = { cluster: record.cluster as ClusterName, record, capacity, gateway, local: undefined };
    const known = constituents.get(key);
    if (known === undefined) constituents.set(key, [constituent]);
    else known.push(constituent);
  }
  return { constituents };
}

function ownConstituent(cluster: ClusterName, own: OwnExport): Constituent {
  return { cluster, record: own.service, capacity: own.capacity, gateway: undefined, local: own.local };
}

const remoteTopic = topic<RemoteIndex>("remote records");
const derivedTopic = topic<ReadonlyMap<string, ServiceInput>>("derived services");
const unionTopic = topic<readonly FleetUnion[], FleetUnion>("fleet unions");

function derivedServices(services: readonly ServiceInput[]): ReadonlyMap<string, ServiceInput> {
  const derived = services.filter((service) => service.importOf !== "");
  return new Map(derived.map((service) => [service.importOf, service]));
}

/** Every service that this member or another exports, by namespace and name. The same object again while nothing of it changed. */
export function fleetUnions(
  memory: Memory,
  inputs: MeshInputs,
  services: readonly LocalService[],
): readonly FleetUnion[] {
  const { cluster, remote } = inputs;
  const peers = buildPeers(memory, inputs);
  const { constituents: remotes } = stage(memory, remoteTopic, [remote, peers], () =>
    remoteIndex(inputs, peers.clusters),
  );
  const derived = stage(memory, derivedTopic, [inputs.services], () => derivedServices(inputs.services));
  const own = ownExports(memory, inputs, services);
  return stage(memory, unionTopic, [cluster, remotes, derived, own], (table, last) => {
    const owns = new Map(own.map((each) => [each.local.key, each]));
    const keys = [...new Set([...remotes.keys(), ...owns.keys()])].sort(compareText);
    const next = keys.flatMap((key) => {
      const mine = owns.get(key);
      const others = remotes.get(key) ?? [];
      const service = derived.get(key);
      const all = mine === undefined ? others : [...others, ownConstituent(cluster, mine)];
      const needs = [
        cluster,
        service,
        ...all.flatMap((each) => [each.record, each.capacity, each.gateway, each.local]),
      ];
      const [oldest, ...younger] = [...all].sort(compareAge);
      return oldest === undefined ? [] : [recall(table, key, needs, () => unionOf([oldest, ...younger], service))];
    });
    return keepList(last, next);
  });
}
