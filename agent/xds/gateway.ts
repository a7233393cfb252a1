// The gateway: TLS from other members is passed on by SNI to the pods of exported ports, one filter chain per (exported port x peer),
// never a wildcard (CVE-2021-31921), so that cutting one peer off drains only its chains. Called by translate.
// A chain's bytes depend on those names only: any other byte that changed would close the connections of its peer (envoy-facts 4).
import { trustDomainOf } from "../../shared/ids.ts";
import type { GatewayAddress } from "../../shared/registry.ts";
import { sniName } from "../ir/sni.ts";
import type { ExportPortIr, MeshIr, PeerIr } from "../ir/types.ts";
import { answerAll, connectionManager } from "./connection-manager.ts";
import { keepaliveSocket } from "./inbound.ts";
import { anyAddress, boundTo, tcpProxy, tlsInspector } from "./listeners.ts";
import { fixedNames, formatName, healthSni } from "./names.ts";
import type { JsonMessage } from "./resource.ts";
import { downstreamTls } from "./tls.ts";

const GATEWAY_PORT = 15443;

export function exportName({ namespace, service, port }: ExportPortIr): string {
  return formatName({ kind: "export", namespace, service, port });
}

function peerChain(ir: MeshIr, exported: ExportPortIr, peer: PeerIr): JsonMessage {
  const { namespace, service, port } = exported;
  const sni = sniName({
    port,
    service,
    namespace,
    caller: peer.cluster,
    callee: ir.cluster,
    fleetDomain: ir.fleetDomain,
  });
  return {
    name: formatName({ kind: "export-chain", namespace, service, port, peer: peer.cluster }),
    filter_chain_match: { server_names: [sni] },
    filters: [tcpProxy("gateway", exportName(exported))],
  };
}

/** What peers probe: a handshake with the gateway's own SVID, which is in no service's list of identities, and a 200. */
function healthChain(ir: MeshIr): JsonMessage {
  return {
    name: fixedNames.health,
    filter_chain_match: { server_names: [healthSni(ir.cluster, ir.fleetDomain)] },
    transport_socket: downstreamTls(["h2", "http/1.1"]),
    filters: [
      connectionManager({
        statPrefix: "health",
        codec: "AUTO",
        routes: {
          inline: answerAll(fixedNames.health, 200, `isthmus: gateway of ${trustDomainOf(ir.cluster, ir.fleetDomain)}`),
        },
      }),
    ],
  };
}

/** All that the listener's bytes depend on; equal shapes, equal listener. */
export function gatewayShape(ir: MeshIr): readonly string[] {
  return [
    ir.fleetDomain,
    ir.cluster,
    "ports",
    ...ir.exportPorts.map(exportName),
    "peers",
    ...ir.peers.map((peer) => peer.cluster),
  ];
}

/** An unknown SNI finds no chain: closed, and counted as `listener.gateway.no_filter_chain_match`. */
export function gatewayListener(ir: MeshIr, bind?: GatewayAddress): JsonMessage {
  return {
    name: fixedNames.gatewayListener,
    stat_prefix: fixedNames.gatewayListener,
    traffic_direction: "INBOUND",
    ...(bind === undefined ? { address: anyAddress(GATEWAY_PORT) } : boundTo(bind.host, bind.port)),
    socket_options: keepaliveSocket,
    listener_filters: [tlsInspector],
    // a TLS client speaks first; who says nothing is closed
    listener_filters_timeout: "5s",
    filter_chains: [
      ...ir.exportPorts.flatMap((exported) => ir.peers.map((peer) => peerChain(ir, exported, peer))),
      healthChain(ir),
    ],
  };
}
