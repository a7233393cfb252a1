// LDS, client side: the outbound listener, with one filter chain per visible service port. Called by translate.
// A chain's bytes depend on the port's name and protocol alone, so that no unrelated change drains its connections; what
// changes more often (routes, endpoints, identities, policy) comes by RDS, EDS and SDS.
import { answerAll, connectionManager } from "./connection-manager.ts";
import { isHttp } from "./clusters.ts";
import type { Account } from "./grants.ts";
import { outboundMatcher, type OutboundDefault } from "./matcher.ts";
import { fixedNames, formatName } from "./names.ts";
import { remembered } from "./remembered.ts";
import type { JsonMessage } from "./resource.ts";
import { extension } from "./typed-config.ts";
import type { Visibility, VisiblePort } from "./visibility.ts";

const OUTBOUND_PORT = 15001;

export function anyAddress(port: number): JsonMessage {
  return { socket_address: { address: "0.0.0.0", port_value: port } };
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

/** No idle limit: without the mesh an idle database connection would live too. A dead peer is found by keepalive. */
export function tcpProxy(statPrefix: string, cluster: string): JsonMessage {
  return extension("envoy.filters.network.tcp_proxy", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", {
    stat_prefix: statPrefix,
    cluster,
    idle_timeout: "0s",
    max_connect_attempts: 4,
  });
}

export function portName({ service, port }: VisiblePort, kind: "outbound" | "identities" = "outbound"): string {
  return formatName({
    kind,
    scope: service.scope,
    namespace: service.namespace,
    service: service.name,
    port: port.port,
  });
}

function portChain(visible: VisiblePort): JsonMessage {
  const name = portName(visible);
  const filter = isHttp(visible.port.protocol)
    ? connectionManager({ statPrefix: "outbound", codec: "AUTO", routes: { rds: name } })
    : tcpProxy("outbound", name);
  return { name, filters: [filter] };
}

function denyChain(caller: Account): JsonMessage {
  const reason = `isthmus: no route to this destination for ${caller.namespace}/${caller.serviceAccount}: no TrafficTarget lets it call, or no service has this address and port`;
  const routes = { inline: answerAll(fixedNames.denyHttp, 403, reason) };
  return { name: fixedNames.denyHttp, filters: [connectionManager({ statPrefix: "deny", codec: "AUTO", routes })] };
}

/** Where the server speaks first, waiting for the client's first bytes only adds the time-out (envoy-facts 8). */
function inspectorUnless(serverFirstPorts: readonly number[]): JsonMessage {
  const rules = serverFirstPorts.map((port) => ({ destination_port_range: { start: port, end: port + 1 } }));
  const [only] = rules;
  if (only === undefined) return httpInspector;
  return { ...httpInspector, filter_disabled: rules.length === 1 ? only : { or_match: { rules } } };
}

export interface OutboundInput {
  readonly caller: Account;
  readonly visibility: Visibility;
  readonly outboundDefault: OutboundDefault;
}

/** All that the listener's bytes depend on; equal shapes, equal listener. */
export function outboundShape({ visibility, outboundDefault }: OutboundInput): readonly string[] {
  const ports = visibility.ports.map((visible) =>
    remembered(visible.port, `shape|${visible.service.key}|${visible.service.vips.join(" ")}`, () =>
      JSON.stringify([portName(visible), visible.port.protocol, visible.service.vips]),
    ),
  );
  return [outboundDefault, ...ports, ...visibility.refused];
}

export function outboundListener({ caller, visibility, outboundDefault }: OutboundInput): JsonMessage {
  const { ports, refused } = visibility;
  const serverFirst = ports.filter(({ port }) => port.protocol === "tcp-server-first").map(({ port }) => port.port);
  const destinations = ports.map((visible) => ({
    addresses: visible.service.vips,
    port: visible.port.port,
    chain: portName(visible),
  }));
  const leaving = { name: fixedNames.passthrough, filters: [tcpProxy("passthrough", fixedNames.passthrough)] };
  return {
    name: fixedNames.outboundListener,
    stat_prefix: fixedNames.outboundListener,
    traffic_direction: "OUTBOUND",
    address: anyAddress(OUTBOUND_PORT),
    listener_filters: [originalDst, inspectorUnless([...new Set(serverFirst)].sort((a, b) => a - b))],
    listener_filters_timeout: "0.1s",
    continue_on_listener_filters_timeout: true,
    filter_chain_matcher: outboundMatcher({ destinations, refused, outboundDefault }),
    filter_chains: [
      ...ports.map((visible) => remembered(visible.port, `chain|${portName(visible)}`, () => portChain(visible))),
      denyChain(caller),
      ...(outboundDefault === "passthrough" ? [leaving] : []),
    ],
  };
}
