// Listeners that a proxy has before and without the agent: metrics, readiness, and the pod's own health probes, all outside the
// redirect. Called by bootstrap. They must not open anything else of the admin interface.
import type { JsonMessage } from "./resource.ts";
import { anyAddress, tcpProxy } from "./listeners.ts";
import { connectionManager } from "./connection-manager.ts";
import { extension } from "./typed-config.ts";

/**
 * A kubelet's probe that the redirect would break. "forward": bytes go to the application as they are (httpGet of either scheme,
 * grpc): the kubelet sees the application's own answer. "connect": the probe was tcpSocket; a proxy that accepts proves nothing, so the
 * injector writes httpGet on `port` instead (any path), answered 200 while the application's port takes connections, else 503.
 */
export interface Probe {
  readonly port: number;
  readonly check: "forward" | "connect";
  readonly targetPort: number;
}

const METRICS_PORT = 15010;
const READINESS_PORT = 15021;

function staticCluster(name: string, port: number, rest: JsonMessage = {}): JsonMessage {
  const address = { socket_address: { address: "127.0.0.1", port_value: port } };
  return {
    name,
    type: "STATIC",
    connect_timeout: "1s",
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
    ...rest,
  };
}

export const adminCluster: JsonMessage = staticCluster("admin", 15000);

function probeName(probe: Probe): string {
  return `probe|${probe.port}`;
}

/** The first check decides within half a second of the start; then one failure or success is enough, as for the kubelet itself. */
const tcpHealthCheck: JsonMessage = {
  timeout: "1s",
  interval: "1s",
  no_traffic_interval: "1s",
  initial_jitter: "0.1s",
  healthy_threshold: 1,
  unhealthy_threshold: 1,
  tcp_health_check: {},
};

export function probeClusters(probes: readonly Probe[]): readonly JsonMessage[] {
  return probes.map((probe) =>
    staticCluster(
      probeName(probe),
      probe.targetPort,
      probe.check === "connect"
        ? { health_checks: [tcpHealthCheck], common_lb_config: { healthy_panic_threshold: { value: 0 } } }
        : {},
    ),
  );
}

function adminListener(name: string, port: number, path: string): JsonMessage {
  const routes: JsonMessage = {
    name,
    virtual_hosts: [{ name, domains: ["*"], routes: [{ match: { path }, route: { cluster: "admin" } }] }],
  };
  return {
    name,
    address: anyAddress(port),
    filter_chains: [{ filters: [connectionManager({ statPrefix: name, codec: "AUTO", routes: { inline: routes } })] }],
  };
}

function healthOf(cluster: string): JsonMessage {
  return extension("envoy.filters.http.health_check", "envoy.extensions.filters.http.health_check.v3.HealthCheck", {
    pass_through_mode: false,
    headers: [{ name: ":path", present_match: true }],
    cluster_min_healthy_percentages: { [cluster]: { value: 100 } },
  });
}

function probeListener(probe: Probe): JsonMessage {
  const name = probeName(probe);
  const filter =
    probe.check === "forward"
      ? tcpProxy("probe", name)
      : connectionManager({
          statPrefix: "probe",
          codec: "AUTO",
          routes: { inline: { name } },
          filters: [healthOf(name)],
        });
  return { name, address: anyAddress(probe.port), filter_chains: [{ filters: [filter] }] };
}

export function staticListeners(probes: readonly Probe[]): readonly JsonMessage[] {
  return [
    adminListener("metrics", METRICS_PORT, "/stats/prometheus"),
    adminListener("readiness", READINESS_PORT, "/ready"),
    ...probes.map(probeListener),
  ];
}
