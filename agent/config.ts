// The agent's configuration: environment variables read once, every mistake reported at once. The Helm chart
// (deploy/charts/agent) is the one place that sets them; defaults are what a pod of that chart needs.
import { err, ok, type Problem, type Result } from "../shared/result.ts";
import type { LogLevel } from "../shared/log.ts";
import type { GatewayAddress } from "../shared/registry.ts";
import type { InjectionSettings } from "./inject/settings.ts";
import { readSidecarSettings, type SidecarSettings } from "./inject/sidecar-settings.ts";

export interface AgentConfig {
  /** Namespace of the agent itself, its gateway and its Secrets. */
  readonly namespace: string;
  readonly podName: string;
  readonly version: string;
  /** Join token; read only while the cluster has not joined yet. */
  readonly tokenFile: string;
  /** Empty: in-cluster credentials. */
  readonly kubeconfigPath: string;
  readonly adsPort: number;
  readonly webhookPort: number;
  readonly adminPort: number;
  /** Of metrics.smi-spec.io, which the API server asks. */
  readonly apiPort: number;
  /** Base URL; empty: TrafficMetrics are not served. */
  readonly prometheusUrl: string;
  readonly svidTtlMs: number;
  /** OSM's permissive mode for the whole mesh. */
  readonly permissive: boolean;
  /** OSM's enableEgress: whether workloads may call what is no service of the mesh. */
  readonly egress: boolean;
  /** Whether sidecars count requests by pod: without, a Prometheus holds one series for all pods of a workload. */
  readonly podLabel: boolean;
  /** Members whose SMI objects are copied here where they want it; `*`: every member's; empty: nobody's. */
  readonly policyFrom: readonly string[];
  readonly envoyImage: string;
  readonly initImage: string;
  readonly imagePullPolicy: InjectionSettings["imagePullPolicy"];
  readonly sidecar: SidecarSettings;
  /** Empty: taken from the gateway Service's load balancer. */
  readonly gatewayAddresses: readonly GatewayAddress[];
  readonly region: string;
  readonly zone: string;
  readonly logLevel: LogLevel;
}

type Environment = Readonly<Record<string, string | undefined>>;

const pullPolicies: readonly InjectionSettings["imagePullPolicy"][] = ["Always", "IfNotPresent", "Never"];
const logLevels: readonly LogLevel[] = ["debug", "info", "warn", "error"];

export function readAgentConfig(environment: Environment): Result<AgentConfig> {
  const problems: Problem[] = [];
  const problem = (name: string, message: string) => problems.push({ code: "ISTHMUS_CONFIG", field: name, message });
  const text = (name: string, fallback: string) => environment[name] ?? fallback;
  const number = (name: string, fallback: number) => {
    const value = Number(text(name, String(fallback)));
    if (!Number.isInteger(value) || value <= 0) problem(name, `"${text(name, "")}" is not a positive whole number`);
    return value;
  };
  const httpUrl = (name: string) => {
    const value = text(name, "");
    if (value !== "" && !/^https?:$/.test(URL.parse(value)?.protocol ?? "")) problem(name, `"${value}" is no HTTP URL`);
    return value;
  };
  const level = text("ISTHMUS_LOG_LEVEL", "info");
  if (!logLevels.includes(level as LogLevel))
    problem("ISTHMUS_LOG_LEVEL", `"${level}" is none of ${logLevels.join(", ")}`);
  const pullPolicy = pullPolicies.find((policy) => policy === text("ISTHMUS_IMAGE_PULL_POLICY", "IfNotPresent"));
  if (pullPolicy === undefined) problem("ISTHMUS_IMAGE_PULL_POLICY", `none of ${pullPolicies.join(", ")}`);
  const podName = text("POD_NAME", "");
  if (podName === "") problem("POD_NAME", "missing: the chart sets it from metadata.name");
  const config: AgentConfig = {
    namespace: text("POD_NAMESPACE", "isthmus-system"),
    podName,
    version: text("ISTHMUS_VERSION", "dev"),
    tokenFile: text("ISTHMUS_TOKEN_FILE", "/var/run/isthmus/join/token"),
    kubeconfigPath: text("KUBECONFIG", ""),
    adsPort: number("ISTHMUS_ADS_PORT", 15128),
    webhookPort: number("ISTHMUS_WEBHOOK_PORT", 9443),
    adminPort: number("ISTHMUS_ADMIN_PORT", 15014),
    apiPort: number("ISTHMUS_API_PORT", 9444),
    prometheusUrl: httpUrl("ISTHMUS_PROMETHEUS_URL"),
    svidTtlMs: number("ISTHMUS_SVID_TTL_S", 3600) * 1000,
    permissive: text("ISTHMUS_PERMISSIVE", "false") === "true",
    egress: text("ISTHMUS_EGRESS", "true") === "true",
    podLabel: text("ISTHMUS_METRICS_POD_LABEL", "true") === "true",
    policyFrom: text("ISTHMUS_POLICY_FROM", "*")
      .split(",")
      .map((member) => member.trim())
      .filter((member) => member !== ""),
    envoyImage: text("ISTHMUS_ENVOY_IMAGE", ""),
    initImage: text("ISTHMUS_INIT_IMAGE", ""),
    imagePullPolicy: pullPolicy ?? "IfNotPresent",
    sidecar: readSidecarSettings(text("ISTHMUS_SIDECAR", ""), (field, message) =>
      problem("ISTHMUS_SIDECAR", field === "" ? message : `${field}: ${message}`),
    ),
    gatewayAddresses: parseAddresses(text("ISTHMUS_GATEWAY_ADDRESSES", ""), problem),
    region: text("ISTHMUS_REGION", ""),
    zone: text("ISTHMUS_ZONE", ""),
    logLevel: level as LogLevel,
  };
  return problems.length > 0 ? err(problems) : ok(config);
}

/** `host:port,host:port`; IPv6 in brackets. */
function parseAddresses(list: string, problem: (name: string, message: string) => void): readonly GatewayAddress[] {
  return list
    .split(",")
    .filter((entry) => entry !== "")
    .map((entry) => {
      const match = /^(?:\[(?<v6>[0-9a-fA-F:]+)\]|(?<host>[^:]+)):(?<port>\d{1,5})$/.exec(entry.trim());
      if (match === null) problem("ISTHMUS_GATEWAY_ADDRESSES", `"${entry}" is not host:port`);
      return {
        host: match?.groups?.["v6"] ?? match?.groups?.["host"] ?? "",
        port: Number(match?.groups?.["port"] ?? 0),
      };
    });
}
