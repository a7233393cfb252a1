// LDS, client side: the outbound listener, with one filter chain per visible service port. Called by translate.
// A chain's bytes depend on the port's name and protocol alone, so that no unrelated change drains its connections; what
// changes more often (routes, endpoints, identities, policy) comes by RDS, EDS and SDS.
import type { ClusterName } from "../../shared/ids.ts";
import { connectionManager, type ConnectionManagerInput } from "./connection-manager.ts";
import { isHttp } from "./clusters.ts";
import { outboundMatcher, type Addresses, type Destination, type OutboundDefault } from "./matcher.ts";
import { fixedNames } from "./names.ts";
import { remembered } from "./remembered.ts";
import { addressAsHeader, refusedService } from "./refused-routes.ts";
import { namedRequestFilter, requestManager } from "./request-filter.ts";
import { requestLog } from "./request-metrics.ts";
import type { JsonMessage } from "./resource.ts";
import type { PortView } from "./service-ports.ts";
import { destination, type Share } from "./shares.ts";
import { extension, fromAds } from "./typed-config.ts";
import type { VisiblePort } from "./visibility.ts";

const OUTBOUND_PORT = 15001;

export function socketAddress(address: string, port: number): JsonMessage {
  return { socket_address: { address, port_value: port } };
}

export function anyAddress(port: number): JsonMessage {
  return socketAddress("0.0.0.0", port);
}

/**
 * Where a bound proxy listens. Without SO_REUSEPORT (Envoy's default): two processes that claim one address would share its
 * connections in silence, instead of the second being refused.
 */
export function boundTo(address: string, port: number): JsonMessage {
  return { address: socketAddress(address, port), enable_reuse_port: false };
}

export const originalDst = extension(
  "envoy.filters.listener.original_dst",
  "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
);

export const httpInspector = extension(
  "envoy.filters.listener.http_inspector",
  "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
);

export const tlsInspector = extension(
  "envoy.filters.listener.tls_inspector",
  "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
);

const tcpProxyType = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

/** No idle limit: without the mesh an idle database connection would live too. A dead peer is found by keepalive. */
function tcpProxyFields(statPrefix: string, to: JsonMessage): JsonMessage {
  return { stat_prefix: statPrefix, ...to, idle_timeout: "0s", max_connect_attempts: 4 };
}

export function tcpProxy(statPrefix: string, cluster: string): JsonMessage {
  return extension("envoy.filters.network.tcp_proxy", tcpProxyType, tcpProxyFields(statPrefix, { cluster }));
}

/** ECDS: the filter of a raw TCP port. Where its connections go may change without a byte of its chain. */
export function portFilter(name: string, shares: readonly Share[]): JsonMessage {
  return extension(name, tcpProxyType, tcpProxyFields("outbound", destination(shares)));
}

/** A raw TCP port's filter comes by ECDS under the port's name. */
function tcpChain(name: string): JsonMessage {
  const discovery = { config_source: fromAds, type_urls: [`type.googleapis.com/${tcpProxyType}`] };
  return { name, filters: [{ name, config_discovery: discovery }] };
}

/** The chain of one service port; `name` is also that of its routes or filter, and of its cluster. */
function chainWith(view: PortView, httpFilter: () => JsonMessage): JsonMessage {
  const { name, port } = view;
  return isHttp(port.protocol) ? { name, filters: [httpFilter()] } : tcpChain(name);
}

/** Where many share a listener. */
function sharedChain(view: PortView, podLabel: boolean): JsonMessage {
  return remembered(view, `shared chain|${podLabel}`, () => chainWith(view, () => namedRequestFilter(view, podLabel)));
}

/** Of a port that has a listener to itself. */
export function chainOf(view: PortView, podLabel: boolean): JsonMessage {
  return remembered(view, `chain|${podLabel}`, () => chainWith(view, () => requestManager(view.name, podLabel)));
}

/**
 * A connection has its chain for life, so one that was refused would be refused for ever: it ends with its first answer (`Connection:
 * close`, GOAWAY), and the next one is led by what is granted then.
 */
const oneAnswerEach: JsonMessage = {
  common_http_protocol_options: { max_requests_per_connection: 1 },
  drain_timeout: "0.1s",
};

/** One for all that is refused, and the same bytes for every caller. */
function denyChain(podLabel: boolean): JsonMessage {
  return refusingChain({ rds: fixedNames.denyHttp }, { ...addressAsHeader, ...oneAnswerEach }, podLabel);
}

/** Of one service that is refused on an address of its own, which says what was meant. */
export function refusedChain({ service }: PortView, cluster: ClusterName, podLabel: boolean): JsonMessage {
  return refusingChain({ inline: refusedService(service, cluster) }, oneAnswerEach, podLabel);
}

function refusingChain(routes: ConnectionManagerInput["routes"], extra: JsonMessage, podLabel: boolean): JsonMessage {
  const log = { access_log: [requestLog(podLabel)] };
  const manager = connectionManager({ statPrefix: "deny", codec: "AUTO", routes, extra: { ...extra, ...log } });
  return { name: fixedNames.denyHttp, filters: [manager] };
}

const leavingChain: JsonMessage = {
  name: fixedNames.passthrough,
  filters: [tcpProxy("passthrough", fixedNames.passthrough)],
};

/** Where the server speaks first, waiting for the client's first bytes only adds the time-out (envoy-facts 8). */
function inspectorUnless(serverFirstPorts: readonly number[]): JsonMessage {
  const rules = serverFirstPorts.map((port) => ({ destination_port_range: { start: port, end: port + 1 } }));
  const [only] = rules;
  if (only === undefined) return httpInspector;
  return { ...httpInspector, filter_disabled: rules.length === 1 ? only : { or_match: { rules } } };
}

export interface OutboundInput {
  readonly visible: readonly VisiblePort[];
  /** Addresses of all services in the mesh: what of them is not visible is refused, never passed through in plaintext. */
  readonly addresses: Addresses;
  readonly outboundDefault: OutboundDefault;
  /** Whether requests are counted by pod. */
  readonly podLabel: boolean;
}

function destinationsOf(view: PortView): readonly Destination[] {
  return remembered(view, "destinations", () =>
    view.destinations.map((destination) => ({ ...destination, chain: view.name })),
  );
}

/** All that the listener's bytes depend on; equal shapes, equal listener. */
export function outboundShape({ visible, addresses, outboundDefault, podLabel }: OutboundInput): readonly string[] {
  return [outboundDefault, String(podLabel), addresses.text, ...visible.map(({ view }) => view.shape)];
}

export function outboundListener({ visible, addresses, outboundDefault, podLabel }: OutboundInput): JsonMessage {
  const serverFirst = visible
    .map(({ view }) => view.port)
    .filter(({ protocol }) => protocol === "tcp-server-first")
    .map(({ port }) => port);
  const destinations = visible.flatMap(({ view }) => destinationsOf(view));
  return {
    name: fixedNames.outboundListener,
    stat_prefix: fixedNames.outboundListener,
    traffic_direction: "OUTBOUND",
    address: anyAddress(OUTBOUND_PORT),
    listener_filters: [originalDst, inspectorUnless([...new Set(serverFirst)].sort((a, b) => a - b))],
    listener_filters_timeout: "0.1s",
    continue_on_listener_filters_timeout: true,
    filter_chain_matcher: outboundMatcher({ destinations, refused: addresses, outboundDefault }),
    filter_chains: [
      ...visible.map(({ view }) => sharedChain(view, podLabel)),
      denyChain(podLabel),
      ...(outboundDefault === "passthrough" ? [leavingChain] : []),
    ],
  };
}
