// What stands beside a workload in its tests: an agent that answers registrations with credentials and nothing else, and a sidecar
// that needs no agent. Both keep to the site's contract; the real ones are met by the fleet's tests.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ok } from "../../../shared/result.ts";
import { pidAnnotation, workloadFolder, type CredentialFacts } from "../../../agent/site/credential-folder.ts";
import type { MakeProxy } from "../../envoy/prepare.ts";

export interface Sockets {
  readonly inbound: number;
  readonly application: number;
  readonly httpProxy: number;
}

export function factsOf(account: string, { inbound, application, httpProxy }: Sockets): CredentialFacts {
  return {
    cluster: "east",
    fleetDomain: "acme.mesh",
    namespace: "shop",
    name: "cart",
    serviceAccount: account,
    agent: { host: "127.0.0.1", port: 15128 },
    locality: { region: "", zone: "" },
    sidecar: {
      applications: [{ port: inbound, address: "127.0.0.1", applicationPort: application }],
      inboundAddresses: ["127.0.0.1"],
      httpProxy: { address: "127.0.0.1", port: httpProxy },
      loopback: { rangeStart: "", blockStart: "" },
      lowestPort: 1024,
    },
  };
}

export function writeCredential(folder: string, facts: CredentialFacts): void {
  const draft = `${folder}.draft`;
  mkdirSync(draft, { recursive: true, mode: 0o700 });
  writeFileSync(join(draft, "token"), "t", { mode: 0o600 });
  writeFileSync(join(draft, "roots.pem"), "r");
  writeFileSync(join(draft, "workload.json"), JSON.stringify(facts));
  renameSync(draft, folder);
}

function registrantIn(folder: string): number | undefined {
  if (!existsSync(folder)) return undefined;
  const facts = JSON.parse(readFileSync(join(folder, "workload.json"), "utf8")) as CredentialFacts;
  return facts.registeredBy;
}

/** Writes a credential for every registration, and removes it with the registration. */
export function startStandInAgent(dataDir: string, sockets: Sockets): { stop(): void } {
  const registered = join(dataDir, "registered");
  mkdirSync(registered, { recursive: true, mode: 0o700 });
  const folder = workloadFolder(dataDir, { namespace: "shop", name: "cart" });
  const look = () => {
    const [file] = readdirSync(registered).filter((name) => name.endsWith(".yaml"));
    if (file === undefined) {
      rmSync(folder, { recursive: true, force: true });
      return;
    }
    const { spec, metadata } = JSON.parse(readFileSync(join(registered, file), "utf8")) as {
      spec: { serviceAccount: string };
      metadata: { annotations: Record<string, string> };
    };
    const registeredBy = Number(metadata.annotations[pidAnnotation]);
    if (registrantIn(folder) === registeredBy) return;
    rmSync(folder, { recursive: true, force: true });
    writeCredential(folder, { ...factsOf(spec.serviceAccount, sockets), registeredBy });
  };
  const watcher = watch(registered, look);
  return { stop: () => watcher.close() };
}

/** A sidecar that hands calls to the application, whichever way they come, configured by its bootstrap alone. */
export function staticProxy({ inbound, application, httpProxy }: Sockets): MakeProxy {
  return (_facts, { configDir }) => {
    const adminSocketPath = join(configDir, "admin.sock");
    const socket = (port: number) => ({ socket_address: { address: "127.0.0.1", port_value: port } });
    const manager = (name: string) => ({
      "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
      stat_prefix: name,
      route_config: {
        virtual_hosts: [
          { name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: "application" } }] },
        ],
      },
      http_filters: [
        {
          name: "envoy.filters.http.router",
          typed_config: { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
        },
      ],
    });
    const listener = (name: string, direction: string, port: number) => ({
      name,
      stat_prefix: name,
      traffic_direction: direction,
      enable_reuse_port: false,
      address: socket(port),
      filter_chains: [
        { filters: [{ name: "envoy.filters.network.http_connection_manager", typed_config: manager(name) }] },
      ],
    });
    const bootstrap = {
      admin: { address: { pipe: { path: adminSocketPath, mode: 0o600 } } },
      static_resources: {
        listeners: [listener("inbound", "INBOUND", inbound), listener("http-proxy", "OUTBOUND", httpProxy)],
        clusters: [
          {
            name: "application",
            type: "STATIC",
            load_assignment: {
              cluster_name: "application",
              endpoints: [{ lb_endpoints: [{ endpoint: { address: socket(application) } }] }],
            },
          },
        ],
      },
    };
    const args = ["-c", join(configDir, "envoy.json"), "--concurrency", "1", "--disable-hot-restart"];
    return ok({
      files: { "envoy.json": JSON.stringify(bootstrap) },
      arguments: args,
      environment: {},
      adminSocketPath,
    });
  };
}
