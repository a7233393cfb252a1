// The bootstrap of a sidecar or gateway: what Envoy needs before it can ask the agent for the rest. Called by the injector and by
// the chart's generator; pure, so a pod's template changes only when this does. No pod name is in it: `--service-node` gives that.
// Trust for the agent and the token are watched files (envoy-facts 5): a new root or token needs no restart.
import type { ClusterName, FleetDomain } from "../../shared/ids.ts";
import { trustDomainOf, workloadSpiffeId } from "../../shared/ids.ts";
import { adminCluster, probeClusters, staticListeners, type Probe } from "./bootstrap-listeners.ts";
import type { JsonMessage } from "./resource.ts";
import { extension, typed } from "./typed-config.ts";

export interface BootstrapOptions {
  readonly kind: "sidecar" | "gateway";
  readonly cluster: ClusterName;
  readonly fleetDomain: FleetDomain;
  /** Where the agent serves ADS: a DNS name (the Service, so that another replica is found) or an IP literal. */
  readonly agent: { readonly host: string; readonly port: number };
  /** Folder with `roots.pem` (ConfigMap isthmus-trust). */
  readonly trustDir: string;
  /** Folder with `token` (projected service-account token). */
  readonly tokenDir: string;
  /** Folder that holds the files of `bootstrapFiles`. */
  readonly configDir: string;
  readonly probes: readonly Probe[];
  /** Region and zone of the node, where known. */
  readonly locality?: { readonly region: string; readonly zone: string };
  /** Set to the container's memory limit: work is shed before the kernel kills the proxy. */
  readonly maxHeapBytes?: number;
  /** Default 50,000: a bound, since each connection costs file descriptors and memory. */
  readonly maxConnections?: number;
  /** Set for a process that shares its machine with others of its kind: it opens no port but those that the agent tells it to. */
  readonly bound?: { readonly adminSocketPath: string };
}

/** Accounts of the system namespace (docs: names, ports, accounts). */
const SYSTEM_NAMESPACE = "isthmus-system";
const AGENT_ACCOUNT = "isthmus-agent";

const rootsFile = "ads-roots.json";
const tokenFile = "ads-token.json";

/**
 * Envoy's arguments besides the configuration. A removed gateway chain must close its connections in seconds, and all at once;
 * two workers are enough for a sidecar, and hot restart would share memory between proxies of one node.
 */
export function envoyArguments(nodeId: string, serviceCluster: string, concurrency = 2): readonly string[] {
  return [
    ...["--service-node", nodeId, "--service-cluster", serviceCluster],
    ...["--drain-strategy", "immediate", "--drain-time-s", "20", "--parent-shutdown-time-s", "25"],
    ...["--concurrency", String(concurrency), "--disable-hot-restart", "--log-level", "warning"],
  ];
}

/**
 * Files beside the bootstrap: Envoy watches a file only when it comes by SDS, and file SDS wants a discovery response on disk.
 * Keys are file names in `configDir`, values their JSON.
 */
export function bootstrapFiles(
  options: Pick<BootstrapOptions, "trustDir" | "tokenDir">,
): Readonly<Record<string, JsonMessage>> {
  const secretType = "envoy.extensions.transport_sockets.tls.v3.Secret";
  const roots = typed(secretType, {
    name: "ads-roots",
    validation_context: {
      trusted_ca: { filename: `${options.trustDir}/roots.pem` },
      watched_directory: { path: options.trustDir },
    },
  });
  const token = typed(secretType, {
    name: "ads-token",
    generic_secret: {
      secret: { filename: `${options.tokenDir}/token`, watched_directory: { path: options.tokenDir } },
    },
  });
  return { [rootsFile]: { resources: [roots] }, [tokenFile]: { resources: [token] } };
}

function fileSds(name: string, configDir: string, file: string): JsonMessage {
  return { name, sds_config: { path_config_source: { path: `${configDir}/${file}` }, resource_api_version: "V3" } };
}

/** Only this cluster's agent, by its exact SPIFFE ID; any replica of it will do. */
function adsTls({ cluster, fleetDomain, configDir, agent }: BootstrapOptions): JsonMessage {
  const trustDomain = trustDomainOf(cluster, fleetDomain);
  const agentId = workloadSpiffeId({ trustDomain, namespace: SYSTEM_NAMESPACE, serviceAccount: AGENT_ACCOUNT });
  return extension("envoy.transport_sockets.tls", "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", {
    sni: isIpLiteral(agent.host) ? `${AGENT_ACCOUNT}.${SYSTEM_NAMESPACE}.svc` : agent.host,
    common_tls_context: {
      tls_params: { tls_minimum_protocol_version: "TLSv1_3", tls_maximum_protocol_version: "TLSv1_3" },
      alpn_protocols: ["h2"],
      combined_validation_context: {
        default_validation_context: {
          match_typed_subject_alt_names: [{ san_type: "URI", matcher: { exact: agentId } }],
        },
        validation_context_sds_secret_config: fileSds("ads-roots", configDir, rootsFile),
      },
    },
  });
}

function isIpLiteral(host: string): boolean {
  return host.includes(":") || /^[0-9.]+$/.test(host);
}

function bearerToken(configDir: string): JsonMessage {
  const credential = extension(
    "envoy.http.injected_credentials.generic",
    "envoy.extensions.http.injected_credentials.generic.v3.Generic",
    { credential: fileSds("ads-token", configDir, tokenFile), header: "authorization", header_value_prefix: "Bearer " },
  );
  return extension(
    "envoy.filters.http.credential_injector",
    "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
    { credential, overwrite: true },
  );
}

/** A dead agent is noticed within about four seconds, whatever the connection was doing; the next attempt meets another replica. */
function adsCluster(options: BootstrapOptions): JsonMessage {
  const { host, port } = options.agent;
  const address = { socket_address: { address: host, port_value: port } };
  const httpOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
  return {
    name: "ads",
    type: isIpLiteral(host) ? "STATIC" : "STRICT_DNS",
    ...(isIpLiteral(host)
      ? {}
      : { dns_refresh_rate: "5s", dns_failure_refresh_rate: { base_interval: "0.5s", max_interval: "2s" } }),
    connect_timeout: "1s",
    load_assignment: { cluster_name: "ads", endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
    typed_extension_protocol_options: {
      [httpOptions]: typed(httpOptions, {
        explicit_http_config: { http2_protocol_options: { connection_keepalive: { interval: "2s", timeout: "2s" } } },
        http_filters: [
          bearerToken(options.configDir),
          extension(
            "envoy.filters.http.upstream_codec",
            "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
          ),
        ],
      }),
    },
    upstream_connection_options: { tcp_keepalive: { keepalive_probes: 2, keepalive_time: 2, keepalive_interval: 1 } },
    transport_socket: adsTls(options),
  };
}

/**
 * Envoy's own back-off between streams grows to 30 s, which is how long a policy change would wait after an agent's restart.
 * Gateways are few, and a cluster joins only once one of them is programmed: they ask sooner.
 */
function adsSource(kind: BootstrapOptions["kind"]): JsonMessage {
  const backOff = { base_interval: "0.1s", max_interval: kind === "gateway" ? "0.3s" : "2s" };
  return {
    api_type: "DELTA_GRPC",
    transport_api_version: "V3",
    set_node_on_first_message_only: true,
    grpc_services: [{ envoy_grpc: { cluster_name: "ads", retry_policy: { retry_back_off: backOff } } }],
  };
}

/** Never start half configured: without an answer the proxy waits, and its readiness says so. */
const overAds: JsonMessage = { ads: {}, resource_api_version: "V3", initial_fetch_timeout: "0s" };

/** Series that dashboards, alerts and tests read. All others would cost about 100 kB per service. */
const keptStats: JsonMessage = {
  inclusion_list: {
    patterns: [
      ...[
        "server.",
        "listener.",
        "listener_manager.",
        "cluster_manager.",
        "control_plane.",
        "tcp.",
        "overload.",
        "runtime.",
        "isthmus.",
        "osm_request",
      ].map((prefix) => ({ prefix })),
      ...["membership_healthy", "membership_total", "update_rejected", "bind_errors"].map((suffix) => ({ suffix })),
      // not `http.*.rds.*`: a handful of series for every service
      { safe_regex: { regex: "http\\.[^.]+\\.(downstream_.*|rq_.*|rbac\\..*)" } },
      {
        safe_regex: {
          regex:
            "cluster\\..*\\.upstream_(cx_(total|active|connect_fail|connect_timeout|tx_bytes_total|rx_bytes_total|destroy_remote_with_active_rq)|rq_(total|active|[0-9]xx|timeout|retry|retry_success|rx_reset|tx_reset|pending_overflow|pending_failure_eject))",
        },
      },
      {
        safe_regex: {
          regex:
            "cluster\\..*\\.(ssl\\.(handshake|connection_error|fail_verify_san|fail_verify_error)|outlier_detection\\.ejections_active)",
        },
      },
    ],
  },
};

/**
 * Series of requests (request-metrics.ts) that stood still for one to two of these are given up: pods that are gone take theirs along.
 * Long, since a series that comes back starts at 0, which a query over a shorter time would miss.
 */
const requestSeriesIdle = "3600s";

function overload(options: BootstrapOptions): JsonMessage {
  const connections = extension(
    "envoy.resource_monitors.global_downstream_max_connections",
    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
    { max_active_downstream_connections: options.maxConnections ?? 50_000 },
  );
  if (options.maxHeapBytes === undefined) return { resource_monitors: [connections] };
  const heapName = "envoy.resource_monitors.fixed_heap";
  const heap = extension(heapName, "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig", {
    max_heap_size_bytes: options.maxHeapBytes,
  });
  const action = (name: string, value: number) => ({ name, triggers: [{ name: heapName, threshold: { value } }] });
  return {
    refresh_interval: "0.25s",
    resource_monitors: [connections, heap],
    actions: [
      action("envoy.overload_actions.shrink_heap", 0.9),
      action("envoy.overload_actions.stop_accepting_requests", 0.95),
    ],
  };
}

/** SMI's regexes may be long; RE2 is linear in the text, and patterns are limited where they enter. Envoy's default of 100 would refuse most. */
const runtime: JsonMessage = {
  layers: [
    {
      name: "static",
      static_layer: { "re2.max_program_size.error_level": 10_000, "re2.max_program_size.warn_level": 10_000 },
    },
    { name: "admin", admin_layer: {} },
  ],
};

interface OwnSurface {
  readonly admin: JsonMessage;
  readonly clusters: readonly JsonMessage[];
  readonly listeners: readonly JsonMessage[];
}

/** Metrics and readiness of a pod are asked at fixed ports; of a bound proxy at its admin socket, which its user alone may open. */
function ownSurface({ bound, probes }: BootstrapOptions): OwnSurface {
  if (bound !== undefined) {
    const pipe = { path: bound.adminSocketPath, mode: 0o600 };
    return { admin: { address: { pipe } }, clusters: [], listeners: [] };
  }
  return {
    admin: { address: { socket_address: { address: "127.0.0.1", port_value: 15000 } } },
    clusters: [adminCluster, ...probeClusters(probes)],
    listeners: staticListeners(probes),
  };
}

/** A pod that lies about its health is its kubelet's to restart; of a process, only its sidecar knows how it answers (agent/ads/load-reports.ts). */
function loadReporting({ bound, kind }: BootstrapOptions): JsonMessage {
  if (bound === undefined || kind === "gateway") return {};
  const load_stats_config = {
    api_type: "GRPC",
    transport_api_version: "V3",
    grpc_services: [{ envoy_grpc: { cluster_name: "ads" } }],
  };
  return { cluster_manager: { load_stats_config } };
}

export function bootstrapConfig(options: BootstrapOptions): JsonMessage {
  const { admin, clusters, listeners } = ownSurface(options);
  const { region, zone } = options.locality ?? { region: "", zone: "" };
  const place = { ...(region === "" ? {} : { region }), ...(zone === "" ? {} : { zone }) };
  return {
    ...(Object.keys(place).length === 0 ? {} : { node: { locality: place } }),
    admin,
    dynamic_resources: { ads_config: adsSource(options.kind), lds_config: overAds, cds_config: overAds },
    ...loadReporting(options),
    static_resources: { clusters: [adsCluster(options), ...clusters], listeners },
    layered_runtime: runtime,
    overload_manager: overload(options),
    stats_config: { stats_matcher: keptStats },
    stats_eviction_interval: requestSeriesIdle,
    deferred_stat_options: { enable_deferred_creation_stats: true },
  };
}
