// A real Envoy on the agent's ADS port, with the bootstrap that a sidecar gets: trust and token from watched files.
// Only its fixed listeners are left out, so that several tests run on one machine.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterName, FleetDomain } from "../../../shared/ids.ts";
import { ownGround } from "../../../shared/testing/ground.ts";
import { bootstrapConfig, bootstrapFiles } from "../../xds/bootstrap.ts";
import type { JsonMessage } from "../../xds/resource.ts";
import { testFleet, type TestFleet } from "../../xds/testing/certificates.ts";
import { start, type Running } from "../../xds/testing/envoy.ts";
import type { ServerIdentity } from "../credentials.ts";

const fleetDomain = "acme.mesh" as FleetDomain;

export interface ProxyHome {
  readonly dir: string;
  readonly fleet: TestFleet;
  /** The agent's serving certificate; each call makes a new one. */
  agentIdentity(): ServerIdentity;
  remove(): void;
}

export function aProxyHome(): ProxyHome {
  const dir = mkdtempSync(join(tmpdir(), "isthmus-ads-"));
  const fleet = testFleet(dir, fleetDomain);
  writeFileSync(join(dir, "roots.pem"), fleet.rootsPem);
  writeFileSync(join(dir, "token"), "token");
  return {
    dir,
    fleet,
    agentIdentity: () => ({ ...fleet.svid("east", "isthmus-system", "isthmus-agent"), root: "test" }),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

export interface TestProxy extends Running {
  /** Not by the gauge `server.state`: it says 0, which is live, until the first flush. */
  isReady(): Promise<boolean>;
  stat(name: string): Promise<number>;
  admin(path: string): Promise<string>;
}

export async function startProxy(
  binary: string,
  home: ProxyHome,
  adsPort: number,
  { reportsLoad = false, drainSeconds = 1 } = {},
): Promise<TestProxy> {
  const { dir } = home;
  const adminPort = await (await ownGround()).port();
  const folders = { trustDir: dir, tokenDir: dir, configDir: dir };
  const agent = { host: "127.0.0.1", port: adsPort };
  const options = {
    kind: "sidecar" as const,
    cluster: "east" as ClusterName,
    fleetDomain,
    agent,
    ...folders,
    probes: [],
    // as the sidecar of a process does; its admin socket is not used
    ...(reportsLoad ? { bound: { adminSocketPath: join(dir, "admin.sock") } } : {}),
  };
  const bootstrap = bootstrapConfig(options);
  const fixed = bootstrap["static_resources"] as JsonMessage;
  const config = {
    ...bootstrap,
    // tests read more series than a sidecar keeps
    stats_config: {},
    admin: { address: { socket_address: { address: "127.0.0.1", port_value: adminPort } } },
    static_resources: { ...fixed, listeners: [] },
  };
  const path = join(dir, `bootstrap-${adminPort}.json`);
  writeFileSync(path, JSON.stringify(config));
  for (const [file, content] of Object.entries(bootstrapFiles(options))) {
    writeFileSync(join(dir, file), JSON.stringify(content));
  }
  const node = ["--service-node", "sidecar~front-1.shop", "--service-cluster", "front"];
  const flags = ["--concurrency", "1", "--disable-hot-restart", "-l", "warning"];
  const drain = ["--drain-strategy", "immediate", "--drain-time-s", String(drainSeconds)];
  const running = start([binary, "-c", path, ...node, ...flags, ...drain]);
  const admin = async (page: string) => (await fetch(`http://127.0.0.1:${adminPort}${page}`)).text();
  return {
    ...running,
    admin,
    isReady: async () => (await admin("/ready")).startsWith("LIVE"),
    stat: async (name) => {
      const line = (await admin(`/stats?filter=^${name.replaceAll(".", "\\.")}$`)).trim();
      return Number(line.slice(line.lastIndexOf(":") + 1));
    },
  };
}
