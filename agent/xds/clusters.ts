// CDS: one cluster per service port (its endpoints in EDS, its identities in SDS, so a cluster changes only with its name and
// protocol), the local application, exported ports at the gateway, and what leaves the mesh. Called by translate.
import type { FleetDomain } from "../../shared/ids.ts";
import type { AppProtocol } from "../ir/types.ts";
import { plaintextMark } from "./endpoints.ts";
import { fixedNames, formatName, type LocalProtocol } from "./names.ts";
import type { JsonMessage } from "./resource.ts";
import { upstreamTls } from "./tls.ts";
import { extension, fromAds, typed } from "./typed-config.ts";

const UNLIMITED = 4294967295;

/**
 * Envoy's default limits (1,024 requests, 3 concurrent retries) are a policy that nobody asked for; three retries would fail a
 * failover of a busy service. The budget bounds a retry storm at one retry per request under way.
 */
export const circuitBreakers: JsonMessage = {
  thresholds: [
    {
      max_connections: UNLIMITED,
      max_pending_requests: UNLIMITED,
      max_requests: UNLIMITED,
      retry_budget: { budget_percent: { value: 100 }, min_retry_concurrency: 100 },
    },
  ],
};

/** A black-holed peer must become a reset within about a second (envoy-facts 1): Envoy's own health state closes no TCP connection. */
export const deadPeerDetection: JsonMessage = {
  upstream_connection_options: { tcp_keepalive: { keepalive_probes: 2, keepalive_time: 1, keepalive_interval: 1 } },
  upstream_bind_config: {
    socket_options: [
      { description: "TCP_USER_TIMEOUT ms", level: 6, name: 18, int_value: 1000, state: "STATE_PREBIND" },
    ],
  },
};

/**
 * Only what this proxy saw itself (connect, TLS, reset) ejects an endpoint, never a 5xx: behind a gateway that would eject a whole
 * member for one bad pod. And only a share of failures over a second: one stall of this proxy breaks the connections to all endpoints at
 * once, and ejecting them all would turn half a second's pause into an outage (panic is at 0). At 99 % a last endpoint always stays.
 */
const outlierDetection: JsonMessage = {
  split_external_local_origin_errors: true,
  enforcing_failure_percentage_local_origin: 100,
  failure_percentage_threshold: 50,
  failure_percentage_minimum_hosts: 1,
  failure_percentage_request_volume: 3,
  enforcing_consecutive_local_origin_failure: 0,
  enforcing_local_origin_success_rate: 0,
  enforcing_success_rate: 0,
  enforcing_consecutive_5xx: 0,
  enforcing_consecutive_gateway_failure: 0,
  interval: "1s",
  base_ejection_time: "1s",
  max_ejection_time: "10s",
  max_ejection_percent: 99,
};

const httpOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/**
 * HTTP/2 between sidecars: pings cross the gateway, so they also notice a dead pod or member behind it. Idle connections are closed
 * after a minute, because each costs its pings (envoy-facts 12).
 */
const meshHttp: JsonMessage = {
  typed_extension_protocol_options: {
    [httpOptions]: typed(httpOptions, {
      common_http_protocol_options: { idle_timeout: "60s" },
      explicit_http_config: {
        http2_protocol_options: { allow_connect: true, connection_keepalive: { interval: "0.5s", timeout: "0.5s" } },
      },
    }),
  },
};

export function isHttp(protocol: AppProtocol): boolean {
  return protocol === "http" || protocol === "http2" || protocol === "grpc";
}

export interface UpstreamInput {
  /** Name of the cluster, which is also that of its EDS. */
  readonly name: string;
  readonly identities: string;
  readonly protocol: AppProtocol;
  /** The address that the application chose is the endpoint (headless services: a pod is called by its own address). */
  readonly byAddress: boolean;
  /** Some endpoints have no sidecar and are marked so (TCP in permissive mode). */
  readonly plaintextToo: boolean;
  readonly fleet: FleetDomain;
}

const plaintextMatch: JsonMessage = {
  transport_socket_matches: [
    {
      name: plaintextMark,
      match: { [plaintextMark]: true },
      transport_socket: extension(
        "envoy.transport_sockets.raw_buffer",
        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
      ),
    },
  ],
};

/** A service port as its clients see it. */
export function upstreamCluster(input: UpstreamInput): JsonMessage {
  const discovery: JsonMessage = input.byAddress
    ? { type: "ORIGINAL_DST", lb_policy: "CLUSTER_PROVIDED" }
    : {
        type: "EDS",
        eds_cluster_config: { eds_config: fromAds },
        lb_policy: "ROUND_ROBIN",
        outlier_detection: outlierDetection,
      };
  return {
    name: input.name,
    ...discovery,
    connect_timeout: "0.5s",
    circuit_breakers: circuitBreakers,
    common_lb_config: { healthy_panic_threshold: { value: 0 } },
    ...deadPeerDetection,
    ...(isHttp(input.protocol) ? meshHttp : {}),
    ...(input.plaintextToo ? plaintextMatch : {}),
    transport_socket: upstreamTls(input.identities, input.fleet),
  };
}

/** Pods without a sidecar, in permissive mode: what the caller spoke, unencrypted (plaintext.ts). */
export function plaintextHttpCluster(name: string, protocol: AppProtocol): JsonMessage {
  return { ...exportCluster(name), ...localHttpOptions(protocol === "http" ? "same" : "h2") };
}

/** An exported port at the gateway: the pods themselves; TLS passes through to them. */
export function exportCluster(name: string): JsonMessage {
  return {
    name,
    type: "EDS",
    eds_cluster_config: { eds_config: fromAds },
    lb_policy: "ROUND_ROBIN",
    connect_timeout: "0.5s",
    circuit_breakers: circuitBreakers,
    common_lb_config: { healthy_panic_threshold: { value: 0 } },
    outlier_detection: outlierDetection,
    ...deadPeerDetection,
  };
}

function localHttpOptions(protocol: LocalProtocol): JsonMessage {
  const versions: Readonly<Record<LocalProtocol, JsonMessage | undefined>> = {
    h1: { explicit_http_config: { http_protocol_options: { enable_trailers: true } } },
    h2: { explicit_http_config: { http2_protocol_options: { allow_connect: true } } },
    same: {
      use_downstream_protocol_config: {
        http_protocol_options: { enable_trailers: true },
        http2_protocol_options: { allow_connect: true },
      },
    },
    tcp: undefined,
  };
  const version = versions[protocol];
  if (version === undefined) return {};
  // shorter than any server's own keep-alive (Node closes after 5 s): a POST that meets a closing connection could not be retried
  const common_http_protocol_options = { idle_timeout: "3s" };
  return {
    typed_extension_protocol_options: {
      [httpOptions]: typed(httpOptions, { common_http_protocol_options, ...version }),
    },
  };
}

/** Where an application answers. */
export interface ApplicationAddress {
  readonly address: string;
  readonly port: number;
}

/** The application beside this proxy; in a pod on loopback as OSM's Localhost mode (docs/decisions/0004-application-on-loopback.md). */
export function applicationCluster(
  port: number,
  protocol: LocalProtocol,
  application: ApplicationAddress = { address: "127.0.0.1", port },
): JsonMessage {
  const name = formatName({ kind: "application", port, protocol });
  const address = { socket_address: { address: application.address, port_value: application.port } };
  return {
    name,
    type: "STATIC",
    connect_timeout: "1s",
    circuit_breakers: circuitBreakers,
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
    ...localHttpOptions(protocol),
  };
}

function originalDestination(name: string): JsonMessage {
  return {
    name,
    type: "ORIGINAL_DST",
    lb_policy: "CLUSTER_PROVIDED",
    connect_timeout: "5s",
    circuit_breakers: circuitBreakers,
  };
}

/** Destinations outside the mesh, reached as if no sidecar were there. */
export const passthroughCluster: JsonMessage = originalDestination(fixedNames.passthrough);

/** Ports of the application that no service declares (permissive mode): the address is set per connection by the inbound chain. */
export const undeclaredApplicationCluster: JsonMessage = originalDestination(fixedNames.undeclaredApplication);
