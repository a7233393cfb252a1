// EDS: local pods first, other members as their gateways (SNI per endpoint), weight = capacity. Called by translate.
// Envoy weighs priorities by healthy weight here, not by counting hosts, so capacity that is not ready must be present
// and unhealthy (envoy-facts 11): left out, a member with 1 of 10 pods would look 100 % healthy.
import type { LocalEndpoint, RemoteBackend } from "../ir/types.ts";
import { gatewayMetadata, podMetadata } from "./request-metrics.ts";
import type { JsonMessage } from "./resource.ts";

/** Weight of one ready pod: divisible by 1 to 6, so that a member's capacity divides evenly among its gateways. */
const WEIGHT_PER_POD = 60;

/** A sum of weights beyond 2^32-1 makes Envoy refuse the assignment; a member that boasts must not break its importers. */
const MAX_WEIGHT = 1_000_000;

/** TEST-NET-1 (RFC 5737): valid and never routed. Always UNHEALTHY, so never dialled either. */
const PHANTOM_ADDRESS = "192.0.2.1";

/** Marks an endpoint without a sidecar for `transport_socket_matches`. */
export const plaintextMark = "plaintext";

const policy: JsonMessage = { overprovisioning_factor: 100, weighted_priority_health: true };

interface Capacity {
  readonly address: string;
  readonly port: number;
  readonly hostname: string;
  readonly weight: number;
  readonly healthy: boolean;
  readonly plaintext: boolean;
  /** Whom a request to it is meant for; undefined where requests are not counted. */
  readonly labels: JsonMessage | undefined;
}

function lbEndpoint(capacity: Capacity): JsonMessage {
  const address = { socket_address: { address: capacity.address, port_value: capacity.port } };
  return {
    endpoint: capacity.hostname === "" ? { address } : { address, hostname: capacity.hostname },
    health_status: capacity.healthy ? "HEALTHY" : "UNHEALTHY",
    load_balancing_weight: capacity.weight,
    ...metadataOf(capacity),
  };
}

function metadataOf({ plaintext, labels }: Capacity): JsonMessage {
  if (!plaintext && labels === undefined) return {};
  const mark = plaintext ? { "envoy.transport_socket_match": { [plaintextMark]: true } } : {};
  return { metadata: { filter_metadata: { ...mark, ...labels } } };
}

function localCapacity(endpoint: LocalEndpoint, requestsTo: string | undefined): Capacity {
  return {
    address: endpoint.address,
    port: endpoint.port,
    hostname: "",
    weight: WEIGHT_PER_POD,
    healthy: endpoint.ready,
    plaintext: !endpoint.meshed,
    labels: requestsTo === undefined ? undefined : podMetadata(endpoint, requestsTo),
  };
}

function shareOf(pods: number, gateways: number): number {
  return Math.min(MAX_WEIGHT, Math.max(1, Math.round((pods * WEIGHT_PER_POD) / gateways)));
}

/** `index` keeps the phantoms of several members apart: Envoy merges endpoints of one address. */
function remoteCapacity(backend: RemoteBackend, index: number, requestsTo: string | undefined): readonly Capacity[] {
  const total = Math.max(backend.total, backend.ready);
  if (total === 0 || backend.gateways.length === 0) return [];
  const healthy = backend.ready > 0;
  // a member without one ready pod keeps its gateways listed: connections stay warm for the moment it has one
  const weight = shareOf(healthy ? backend.ready : total, backend.gateways.length);
  const gateways = backend.gateways.map((gateway) => ({
    address: gateway.host,
    port: gateway.port,
    hostname: backend.sni,
    weight,
    healthy,
    plaintext: false,
    labels: requestsTo === undefined ? undefined : gatewayMetadata(backend, requestsTo),
  }));
  const missing = total - backend.ready;
  if (!healthy || missing === 0) return gateways;
  return [
    ...gateways,
    {
      address: PHANTOM_ADDRESS,
      port: index + 1,
      hostname: "",
      weight: shareOf(missing, 1),
      healthy: false,
      plaintext: false,
      labels: undefined,
    },
  ];
}

interface Level {
  readonly priority: number;
  readonly region: string;
  readonly zone: string;
  readonly capacities: readonly Capacity[];
}

function locality(level: Level): JsonMessage {
  const place = {
    ...(level.region === "" ? {} : { region: level.region }),
    ...(level.zone === "" ? {} : { zone: level.zone }),
  };
  return {
    ...(Object.keys(place).length === 0 ? {} : { locality: place }),
    priority: level.priority,
    lb_endpoints: level.capacities.map(lbEndpoint),
  };
}

/** Envoy wants priorities without gaps from 0: the ranks of those in use. */
function ranked(levels: readonly Level[]): readonly Level[] {
  const used = levels.filter((level) => level.capacities.length > 0);
  const order = [...new Set(used.map((level) => level.priority))].sort((a, b) => a - b);
  return used.map((level) => ({ ...level, priority: order.indexOf(level.priority) }));
}

export interface AssignmentInput {
  readonly name: string;
  readonly local: readonly LocalEndpoint[];
  readonly remote: readonly RemoteBackend[];
  /** Name of the service whose requests are counted (request-metrics.ts). Absent: they are not HTTP, or others count them. */
  readonly requestsTo?: string | undefined;
}

export function loadAssignment({ name, local, remote, requestsTo }: AssignmentInput): JsonMessage {
  const levels: readonly Level[] = [
    { priority: 0, region: "", zone: "", capacities: local.map((one) => localCapacity(one, requestsTo)) },
    ...remote.map((backend, index) => ({
      priority: backend.priority,
      region: backend.region,
      zone: backend.zone,
      capacities: remoteCapacity(backend, index, requestsTo),
    })),
  ];
  return { cluster_name: name, policy, endpoints: ranked(levels).map(locality) };
}
