// Small resources for tests of the ADS stream: an HTTP listener, its routes, clusters and endpoints, in the JSON of translators.
import { createSnapshotEncoder } from "../../xds/snapshot.ts";
import { resourceTypes, type JsonMessage, type ResourceSet, type ResourceType } from "../../xds/resource.ts";
import { encodeResource } from "../../../shared/wire.ts";

const ads = { ads: {}, resource_api_version: "V3" };

export function aCluster(name: string, connectTimeout = "1s"): JsonMessage {
  return {
    name,
    type: "EDS",
    connect_timeout: connectTimeout,
    eds_cluster_config: { eds_config: ads },
  };
}

export function anEndpoint(port: number, address = "127.0.0.1"): JsonMessage {
  return { endpoint: { address: { socket_address: { address, port_value: port } } }, load_balancing_weight: 1 };
}

export function anAssignment(name: string, ports: readonly number[]): JsonMessage {
  return { cluster_name: name, endpoints: [{ lb_endpoints: ports.map((port) => anEndpoint(port)) }] };
}

/** A connection manager, with its type. */
export function httpManager(routeTable: string, statPrefix: string): JsonMessage {
  return {
    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    stat_prefix: statPrefix,
    rds: { config_source: ads, route_config_name: routeTable },
    http_filters: [
      {
        name: "envoy.filters.http.router",
        typed_config: { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
      },
    ],
  };
}

/** Not bound; yet Envoy wants every listener's address to be its own. */
export function aListener(name: string, routeTable: string, statPrefix = name): JsonMessage {
  const port = 1 + (Buffer.from(name).reduce((sum, byte) => sum * 31 + byte, 0) % 60_000);
  return {
    name,
    address: { socket_address: { address: "127.0.0.1", port_value: port } },
    bind_to_port: false,
    filter_chains: [
      {
        filters: [
          {
            name: "envoy.filters.network.http_connection_manager",
            typed_config: httpManager(routeTable, statPrefix),
          },
        ],
      },
    ],
  };
}

export function aRouteTable(name: string, clusters: readonly string[]): JsonMessage {
  return {
    name,
    virtual_hosts: [
      {
        name: "all",
        domains: ["*"],
        routes: clusters.map((cluster) => ({ match: { prefix: `/${cluster}` }, route: { cluster } })),
      },
    ],
  };
}

export function nameOf(value: JsonMessage): string {
  const name = value["cluster_name"] ?? value["name"];
  return typeof name === "string" ? name : "";
}

export type Lists = Readonly<Partial<Record<ResourceType, readonly JsonMessage[]>>>;

export function aSet(lists: Lists): ResourceSet {
  const set = {} as Record<ResourceType, ReadonlyMap<string, JsonMessage>>;
  for (const type of resourceTypes) {
    set[type] = new Map((lists[type] ?? []).map((value) => [nameOf(value), value]));
  }
  return set;
}

/** `services` clusters with their endpoints, one listener that routes to all of them. */
export function aMesh(services: readonly string[], connectTimeout = "1s", port = 80): Lists {
  return {
    cds: services.map((name) => aCluster(name, connectTimeout)),
    eds: services.map((name) => anAssignment(name, [port])),
    lds: [aListener("outbound", "routes")],
    rds: [aRouteTable("routes", services)],
  };
}

export const encodeSnapshot = createSnapshotEncoder(encodeResource);

export function aSnapshot(lists: Lists) {
  return encodeSnapshot(aSet(lists));
}
