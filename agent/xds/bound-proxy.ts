// Everything an Envoy process needs to start beside a workload, or as a site's gateway: its files and its arguments, from the facts of
// a credential folder. Called by `isthmus run` and `isthmus site`, which write the files and start it. Pure.
import { parseClusterName, parseFleetDomain } from "../../shared/ids.ts";
import { ok, rejected, type Result } from "../../shared/result.ts";
import { bootstrapConfig, bootstrapFiles, envoyArguments } from "./bootstrap.ts";
import { workloadEnvironment } from "./request-metrics.ts";

/** What `workload.json` says; a folder that was copied or edited by hand is checked here. */
export interface ProxyFacts {
  readonly cluster: string;
  readonly fleetDomain: string;
  readonly namespace: string;
  readonly name: string;
  readonly agent: { readonly host: string; readonly port: number };
  readonly locality: { readonly region: string; readonly zone: string };
  /** Absent for the gateway. */
  readonly sidecar?: object | undefined;
}

export interface ProxyFolders {
  /** Absolute; holds `token` and `roots.pem`, both watched: a renewed one needs no restart. */
  readonly credentialDir: string;
  /** Absolute, of this proxy alone and closed to others: whoever reaches the admin socket in it commands the proxy. */
  readonly configDir: string;
}

export interface BoundProxy {
  /** Names in `configDir` with their content. */
  readonly files: Readonly<Record<string, string>>;
  readonly arguments: readonly string[];
  /** To be added to that of its parent. */
  readonly environment: Readonly<Record<string, string>>;
  /** Envoy's admin interface: `/ready`, `/drain_listeners?graceful`, `/stats/prometheus`. */
  readonly adminSocketPath: string;
}

/** `sun_path` of macOS, which is shorter than that of Linux, with its closing zero. */
const MAX_SOCKET_PATH_BYTES = 103;

export function boundProxy(facts: ProxyFacts, folders: ProxyFolders): Result<BoundProxy> {
  const cluster = parseClusterName(facts.cluster);
  if (!cluster.ok) return cluster;
  const fleetDomain = parseFleetDomain(facts.fleetDomain);
  if (!fleetDomain.ok) return fleetDomain;
  const { credentialDir, configDir } = folders;
  const adminSocketPath = `${configDir}/admin.sock`;
  if (new TextEncoder().encode(adminSocketPath).length > MAX_SOCKET_PATH_BYTES) {
    const most = `${MAX_SOCKET_PATH_BYTES} bytes are the most a Unix socket may have`;
    return rejected("ISTHMUS_DATA_PATH", `${adminSocketPath} is too long: ${most}; use a shorter folder`);
  }
  const kind = facts.sidecar === undefined ? "gateway" : "sidecar";
  const places = { trustDir: credentialDir, tokenDir: credentialDir, configDir };
  const envoy = bootstrapConfig({
    kind,
    cluster: cluster.value,
    fleetDomain: fleetDomain.value,
    agent: facts.agent,
    ...places,
    probes: [],
    locality: facts.locality,
    bound: { adminSocketPath },
  });
  const files = Object.entries({ ...bootstrapFiles(places), "envoy.json": envoy });
  const nodeId = `${kind}~${facts.name}.${facts.namespace}`;
  return ok({
    files: Object.fromEntries(files.map(([name, content]) => [name, JSON.stringify(content)])),
    arguments: ["-c", `${configDir}/envoy.json`, ...envoyArguments(nodeId, `${facts.name}.${facts.namespace}`)],
    environment: workloadEnvironment({
      cluster: facts.cluster,
      namespace: facts.namespace,
      kind: "Workload",
      name: facts.name,
      pod: facts.name,
    }),
    adminSocketPath,
  });
}
