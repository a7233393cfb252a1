// LDS, RDS and CDS of a bound sidecar's HTTP proxy: an application with HTTP_PROXY set sends every request here, and its host name
// chooses the service. Called by translate. The listener never changes; the routes come by RDS, so open connections obey a change.
// A name of the mesh never leaves it: what of the mesh the caller may not call is answered 403, whatever the port.
import type { ClusterName } from "../../shared/ids.ts";
import type { BoundInput } from "../ir/inputs.ts";
import type { ServiceIr } from "../ir/types.ts";
import { circuitBreakers, isHttp } from "./clusters.ts";
import { answerRoute, connectionManager } from "./connection-manager.ts";
import { boundTo, socketAddress } from "./listeners.ts";
import type { OutboundDefault } from "./matcher.ts";
import { fixedNames } from "./names.ts";
import { noRoute } from "./refused-routes.ts";
import { remembered } from "./remembered.ts";
import {
  answererFilterByHost,
  describedRoutes,
  destinationOf,
  meshHost,
  proxyRequestLog,
  type Destination,
} from "./request-metrics.ts";
import type { JsonMessage } from "./resource.ts";
import { clientHeaders, clientRoutes, retryUndelivered } from "./routes.ts";
import { destination } from "./shares.ts";
import type { MeshView, PortView } from "./service-ports.ts";
import { extension } from "./typed-config.ts";

/** Both halves of Envoy's forward proxy share the cache by this. */
const dnsCache: JsonMessage = {
  dns_cache_config: { name: fixedNames.outside, dns_lookup_family: "V4_PREFERRED" },
};

const resolveOutside = extension(
  "envoy.filters.http.dynamic_forward_proxy",
  "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
  dnsCache,
);

/** Hosts outside the mesh, found by name, unencrypted: only what a client sends to a proxy in plaintext comes this way. */
export const outsideCluster: JsonMessage = {
  name: fixedNames.outside,
  connect_timeout: "5s",
  lb_policy: "CLUSTER_PROVIDED",
  circuit_breakers: circuitBreakers,
  cluster_type: extension(
    "envoy.clusters.dynamic_forward_proxy",
    "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig",
    dnsCache,
  ),
};

/** Clients that tunnel plain HTTP too (CONNECT to an HTTP port) come back here with what is inside the tunnel. */
export function httpProxyCluster({ httpProxy }: BoundInput): JsonMessage {
  const name = fixedNames.httpProxy;
  const endpoint = { address: socketAddress(httpProxy.address, httpProxy.port) };
  return {
    name,
    type: "STATIC",
    connect_timeout: "1s",
    circuit_breakers: circuitBreakers,
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint }] }] },
  };
}

export interface HttpProxySettings {
  readonly outboundDefault: OutboundDefault;
  /** Whether requests are counted by pod. */
  readonly podLabel: boolean;
}

export function httpProxyListener({ httpProxy }: BoundInput, settings: HttpProxySettings): JsonMessage {
  return {
    name: fixedNames.httpProxy,
    stat_prefix: fixedNames.httpProxy,
    traffic_direction: "OUTBOUND",
    ...boundTo(httpProxy.address, httpProxy.port),
    filter_chains: [
      {
        name: fixedNames.httpProxy,
        filters: [
          connectionManager({
            statPrefix: fixedNames.httpProxy,
            codec: "AUTO",
            routes: { rds: fixedNames.httpProxy },
            filters: [answererFilterByHost, ...(settings.outboundDefault === "passthrough" ? [resolveOutside] : [])],
            extra: {
              access_log: [proxyRequestLog(settings.podLabel)],
              strip_trailing_host_dot: true,
              upgrade_configs: [{ upgrade_type: "websocket" }, { upgrade_type: "CONNECT" }],
            },
          }),
        ],
      },
    ],
  };
}

/** A service's names. */
interface Hosts {
  readonly key: string;
  readonly namespace: string;
  readonly domains: readonly string[];
  /** Of a cluster's own service, for callers of its namespace; empty for an import, which has no short name (KEP-1645). */
  readonly bareName: string;
  /** Whom its requests are meant for. */
  readonly destination: Destination;
  /** All of this, to be compared quickly. */
  readonly text: string;
}

/** Whatever else would be a pattern to Envoy: `*` in a name that another member chose must not take the names of others. */
const hostName = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/;

function hostsOf(service: ServiceIr, cluster: ClusterName): Hosts {
  return remembered(service, `hosts|${cluster}`, () => {
    const { key, namespace, name, scope, hostnames } = service;
    const domains = hostnames.filter((host) => hostName.test(host));
    const bareName = scope === "cluster" && hostName.test(name) ? name : "";
    const destination = destinationOf(service, cluster);
    return { key, namespace, domains, bareName, destination, text: JSON.stringify([key, domains, destination]) };
  });
}

interface MeshHosts {
  readonly all: ReadonlyMap<string, Hosts>;
  readonly text: string;
}

function meshHosts(mesh: MeshView, cluster: ClusterName): MeshHosts {
  return remembered(mesh, `hosts|${cluster}`, () => {
    const all = new Map(mesh.ports.map(({ service }) => [service.key, hostsOf(service, cluster)]));
    return { all, text: [...all.values()].map(({ text }) => text).join(" ") };
  });
}

function portShape(view: PortView): string {
  const { name, port, own, split } = view;
  const shape = () => JSON.stringify([name, port.protocol, own, split?.matches, split?.shares]);
  return remembered(view, "proxied", shape);
}

export interface HttpProxyRoutesInput {
  /** Ports that the caller may call. */
  readonly views: readonly PortView[];
  readonly mesh: MeshView;
  readonly cluster: ClusterName;
  /** The caller's own: bare names are of it. */
  readonly namespace: string;
  readonly outboundDefault: OutboundDefault;
}

/** All that the routes' bytes depend on; equal shapes, equal routes. */
export function httpProxyShape(input: HttpProxyRoutesInput): readonly string[] {
  const { views, mesh, cluster, namespace, outboundDefault } = input;
  return [outboundDefault, namespace, meshHosts(mesh, cluster).text, views.map(portShape).join(" ")];
}

/** A client leaves out the port of its scheme. */
function authority(port: number): JsonMessage {
  const match = port === 80 ? { safe_regex: { regex: "[^:]*(:80)?" } } : { suffix: `:${port}` };
  return { name: ":authority", string_match: match };
}

function tunnelRoute(headers: readonly JsonMessage[], to: JsonMessage): JsonMessage {
  return {
    match: { connect_matcher: {}, ...(headers.length === 0 ? {} : { headers }) },
    route: {
      ...to,
      timeout: "0s",
      retry_policy: retryUndelivered,
      upgrade_configs: [{ upgrade_type: "CONNECT", connect_config: {} }],
    },
  };
}

/** Envoy's prefix matches no CONNECT. */
const everythingRefused: readonly JsonMessage[] = [{ connect_matcher: {} }, { prefix: "/" }].map((match) =>
  answerRoute(match, 403, noRoute),
);

function portRoutes({ port, own, split }: PortView): readonly JsonMessage[] {
  const headers = [authority(port.port)];
  if (isHttp(port.protocol)) {
    return [tunnelRoute(headers, { cluster: fixedNames.httpProxy }), ...clientRoutes({ own, split }, headers)];
  }
  return [tunnelRoute(headers, destination(split?.matches === "all" ? split.shares : own))];
}

/** `isthmus` in Via (RFC 9110 7.6.3): a request for this proxy's own address comes back, and would for ever. */
const via = "isthmus";

/**
 * Everything that is no name of the mesh. Passed through as far as a proxy can: plain HTTP and tunnels to any host that DNS knows or
 * that is an address. Refused with 403 where the default is to deny.
 */
function outsideRoutes(outboundDefault: OutboundDefault): readonly JsonMessage[] {
  if (outboundDefault === "deny") return everythingRefused;
  const cameBack = { name: "via", string_match: { contains: via } };
  const loop = "isthmus: this request came back to the proxy that had passed it on";
  // it would go on in plaintext, which is not what was asked for
  const encrypted = { name: ":scheme", string_match: { exact: "https" } };
  const tunnelIt = "isthmus: this proxy passes TLS on through a tunnel (CONNECT) only";
  return [
    tunnelRoute([], { cluster: fixedNames.outside }),
    answerRoute({ prefix: "/", headers: [cameBack] }, 508, loop),
    answerRoute({ prefix: "/", headers: [encrypted] }, 400, tunnelIt),
    {
      match: { prefix: "/" },
      route: { cluster: fixedNames.outside, timeout: "0s" },
      request_headers_to_add: [
        { header: { key: "via", value: `1.1 ${via}` }, append_action: "APPEND_IF_EXISTS_OR_ADD" },
      ],
    },
  ];
}

/** One virtual host per service, called or refused, and one for what is outside. A port is told by its route. */
export function httpProxyRoutes(input: HttpProxyRoutesInput): JsonMessage {
  const { views, mesh, cluster, namespace, outboundDefault } = input;
  const visible = Map.groupBy(views, (view) => view.service.key);
  const hosts = meshHosts(mesh, cluster).all;
  const taken = new Set<string>();
  // Envoy refuses a table that has a domain twice
  const domainsOf = ({ domains, bareName, ...host }: Hosts): readonly string[] => {
    const bare = bareName !== "" && host.namespace === namespace ? [bareName] : [];
    const free = [...new Set([...domains, ...bare])].filter((domain) => !taken.has(domain));
    for (const domain of free) taken.add(domain);
    return free;
  };
  const called = [...visible].flatMap(([key, ports]) => {
    const host = hosts.get(key);
    const domains = host === undefined ? [] : domainsOf(host);
    if (host === undefined || domains.length === 0) return [];
    const routes = describedRoutes([...ports.flatMap(portRoutes), ...everythingRefused], host.destination);
    return [{ name: key, domains, typed_per_filter_config: meshHost, ...clientHeaders, routes }];
  });
  const refused = [...hosts.values()].flatMap((host) => {
    const domains = visible.has(host.key) ? [] : domainsOf(host);
    if (domains.length === 0) return [];
    const routes = describedRoutes(everythingRefused, host.destination);
    return [{ name: `refused|${host.key}`, domains, typed_per_filter_config: meshHost, routes }];
  });
  return {
    name: fixedNames.httpProxy,
    validate_clusters: false,
    ignore_port_in_host_matching: true,
    virtual_hosts: [
      ...called,
      ...refused,
      { name: fixedNames.outside, domains: ["*"], routes: outsideRoutes(outboundDefault) },
    ],
  };
}
