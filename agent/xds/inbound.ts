// LDS, server side: the inbound listener. Each port that a service declares takes mutual TLS from the mesh; plaintext is answered
// 403 with the reason where it is HTTP, and closed where it is not. Called by translate.
// The mesh's TLS is told from an application's own by its ALPN, so both may share a port in permissive mode.
import type { BoundInput } from "../ir/inputs.ts";
import type { InboundPortIr } from "../ir/types.ts";
import { isHttp, type ApplicationAddress } from "./clusters.ts";
import { answerAll, connectionManager } from "./connection-manager.ts";
import { anyAddress, boundTo, httpInspector, originalDst, tcpProxy, tlsInspector } from "./listeners.ts";
import { fixedNames, formatName } from "./names.ts";
import { httpPolicyFilters, tcpPolicyFilters, type Policy } from "./rbac.ts";
import { answererHeaders, noAnswererHeaders } from "./request-metrics.ts";
import type { JsonMessage } from "./resource.ts";
import { failureHeader, failures, mutualTlsOnly } from "./routes.ts";
import { downstreamTls, foreignAlpn, meshAlpn } from "./tls.ts";
import { unreadyListener } from "./unready.ts";
import { extension } from "./typed-config.ts";

const INBOUND_PORT = 15003;

/** Keepalive for connections that applications leave idle: a vanished caller must not hold its connection for ever. */
export const keepaliveSocket: readonly JsonMessage[] = [
  { description: "SO_KEEPALIVE", level: 1, name: 9, int_value: 1, state: "STATE_PREBIND" },
  { description: "TCP_KEEPIDLE s", level: 6, name: 4, int_value: 60, state: "STATE_PREBIND" },
  { description: "TCP_KEEPINTVL s", level: 6, name: 5, int_value: 10, state: "STATE_PREBIND" },
  { description: "TCP_KEEPCNT", level: 6, name: 6, int_value: 3, state: "STATE_PREBIND" },
];

/** Answers of the sidecar itself: a failure of the application for the caller's sidecar, and the reason of a refusal for people. */
const localReplies: JsonMessage = {
  mappers: [
    ...Object.entries(failures).map(([failure, flags]) => ({
      filter: { response_flag_filter: { flags } },
      headers_to_add: [{ header: { key: failureHeader, value: failure }, append_action: "OVERWRITE_IF_EXISTS_OR_ADD" }],
    })),
    {
      filter: {
        status_code_filter: { comparison: { op: "EQ", value: { default_value: 403, runtime_key: "isthmus.refused" } } },
      },
      body_format_override: {
        text_format_source: {
          inline_string: "isthmus: no TrafficTarget lets %DOWNSTREAM_PEER_URI_SAN% make this request here\n",
        },
      },
    },
  ],
};

const callerIdentity: JsonMessage = {
  forward_client_cert_details: "SANITIZE_SET",
  set_current_client_cert_details: { uri: true },
};

/** Where callers come from: our own fleet, or another one, each with an ALPN, a chain and roots of its own. */
interface Entry {
  readonly chain: string;
  readonly alpn: string;
  readonly tls: JsonMessage;
}

/** `byGrant`: only granted accounts may connect at all; else whoever is of the fleet may, and policy is asked afterwards. */
function entriesOf(port: number, foreign: readonly string[], byGrant: boolean): readonly Entry[] {
  const callers = byGrant ? formatName({ kind: "callers", port }) : fixedNames.roots;
  const own = { chain: formatName({ kind: "inbound", port }), alpn: meshAlpn, tls: downstreamTls([meshAlpn], callers) };
  const others = foreign.map((fleet) => {
    const trusted = formatName(byGrant ? { kind: "foreign-callers", port, fleet } : { kind: "foreign-roots", fleet });
    const alpn = foreignAlpn(fleet);
    return { chain: formatName({ kind: "inbound-foreign", port, fleet }), alpn, tls: downstreamTls([alpn], trusted) };
  });
  return [own, ...others];
}

function meshChain(port: number, { chain, alpn, tls }: Entry, filters: readonly JsonMessage[]): JsonMessage {
  const match = { destination_port: port, application_protocols: [alpn] };
  return { name: chain, filter_chain_match: match, transport_socket: tls, filters: [...filters] };
}

function httpChains(port: number, { foreign }: Policy): readonly JsonMessage[] {
  const mesh = formatName({ kind: "inbound", port });
  const plaintext = formatName({ kind: "inbound-plaintext", port });
  const manager = connectionManager({
    statPrefix: "inbound",
    codec: "HTTP2",
    routes: { rds: mesh },
    filters: [answererHeaders, ...httpPolicyFilters],
    extra: { ...callerIdentity, local_reply_config: localReplies },
  });
  return [
    ...entriesOf(port, foreign, false).map((entry) => meshChain(port, entry, [manager])),
    {
      name: plaintext,
      filter_chain_match: { destination_port: port },
      filters: [
        connectionManager({
          statPrefix: "inbound-plaintext",
          codec: "AUTO",
          routes: { rds: plaintext },
          filters: [noAnswererHeaders],
          extra: callerIdentity,
        }),
      ],
    },
  ];
}

function tcpChains(port: number, policy: Policy): readonly JsonMessage[] {
  const application = tcpProxy("inbound", formatName({ kind: "application", port, protocol: "tcp" }));
  const filters = [...tcpPolicyFilters(policy, port), application];
  const mesh = entriesOf(port, policy.foreign, !policy.permissive).map((entry) => meshChain(port, entry, filters));
  if (!policy.permissive) return mesh;
  const name = formatName({ kind: "inbound-plaintext", port });
  return [...mesh, { name, filter_chain_match: { destination_port: port }, filters: [application] }];
}

/** HTTP to a port that no service declares. A match without a port is reached only when no chain has the port. */
const undeclaredHttp: JsonMessage = {
  name: fixedNames.undeclaredHttp,
  filter_chain_match: { application_protocols: ["http/1.0", "http/1.1", "h2c"] },
  filters: [
    connectionManager({
      statPrefix: "undeclared",
      codec: "AUTO",
      routes: { inline: answerAll(fixedNames.undeclaredHttp, 403, `${mutualTlsOnly} No service declares this port.`) },
    }),
  ],
};

/** Permissive: any port reaches the application as if there were no sidecar, over loopback like the declared ones. */
const undeclaredPassthrough: JsonMessage = {
  name: fixedNames.undeclaredApplication,
  filters: [
    extension("envoy.filters.network.set_filter_state", "envoy.extensions.filters.network.set_filter_state.v3.Config", {
      on_new_connection: [
        {
          object_key: "envoy.network.transport_socket.original_dst_address",
          format_string: { text_format_source: { inline_string: "127.0.0.1:%DOWNSTREAM_LOCAL_PORT%" } },
        },
      ],
    }),
    tcpProxy("undeclared", fixedNames.undeclaredApplication),
  ],
};

export interface InboundInput {
  readonly ports: readonly InboundPortIr[];
  readonly policy: Policy;
}

function portChains({ port, protocol }: InboundPortIr, policy: Policy): readonly JsonMessage[] {
  return isHttp(protocol) ? httpChains(port, policy) : tcpChains(port, policy);
}

export function inboundListener({ ports, policy }: InboundInput): JsonMessage {
  const declared = ports.flatMap((port) => portChains(port, policy));
  return {
    name: fixedNames.inboundListener,
    stat_prefix: fixedNames.inboundListener,
    traffic_direction: "INBOUND",
    address: anyAddress(INBOUND_PORT),
    socket_options: keepaliveSocket,
    listener_filters: [originalDst, tlsInspector, httpInspector],
    listener_filters_timeout: "0.1s",
    continue_on_listener_filters_timeout: true,
    filter_chains: policy.permissive ? declared : [...declared, undeclaredHttp],
    ...(policy.permissive ? { default_filter_chain: undeclaredPassthrough } : {}),
  };
}

/** Where the application answers for a port; undefined for a port that its sidecar does not take. */
export function applicationOf({ applications }: BoundInput, port: number): ApplicationAddress | undefined {
  const found = applications.find((application) => application.port === port);
  return found === undefined ? undefined : { address: found.address, port: found.applicationPort };
}

/**
 * A bound sidecar takes calls where it is called: one listener for each address and port, so that another port's change drains
 * none of them. Any other port of the address is not the sidecar's to answer.
 */
export function boundInboundListeners(bound: BoundInput, { ports, policy }: InboundInput): readonly JsonMessage[] {
  return ports.flatMap((inbound) => {
    const { port } = inbound;
    const filterChains = portChains(inbound, policy);
    return bound.inboundAddresses.map((address) => ({
      name: formatName({ kind: "bound-inbound", address, port }),
      stat_prefix: fixedNames.inboundListener,
      traffic_direction: "INBOUND",
      ...boundTo(address, port),
      // a connection that is not HTTP cannot be told to go, only cut
      ...(bound.unready === true && isHttp(inbound.protocol) ? unreadyListener : {}),
      socket_options: keepaliveSocket,
      listener_filters: [tlsInspector],
      listener_filters_timeout: "0.1s",
      continue_on_listener_filters_timeout: true,
      filter_chains: filterChains,
    }));
  });
}
