// A site's agent from its start: health surface, manifests, the way into the fleet, then the life of a member. Called by
// `isthmus site`. Constructs, with site-platform.ts and member.ts; decides nothing.
import { hostname } from "node:os";
import { join } from "node:path";
import type { Server } from "node:http";
import type { Clock } from "../shared/clock.ts";
import { UserError } from "../shared/errors.ts";
import { runTasks } from "../shared/lifecycle.ts";
import type { Log } from "../shared/log.ts";
import { createAdminSurface, startAdminServer, type AdminSurface } from "./admin-http.ts";
import { joinFleet } from "./hub/join.ts";
import { fileIdentityStore } from "./identity/identity-file.ts";
import { heldIdentity, type IdentityStore, type JoinedIdentity } from "./identity/identity-state.ts";
import { readToken } from "./join-token-file.ts";
import { runMember } from "./member.ts";
import type { MemberConfig } from "./member-parts.ts";
import { createAgentMetrics } from "./metrics.ts";
import { gatewayFolder } from "./site/credential-folder.ts";
import type { SiteConfig } from "./site/site-config.ts";
import { tokenKey } from "./site/site-files.ts";
import { openSiteSource } from "./site/site-source.ts";
import { systemNamespace } from "./site/workload.ts";
import { sitePlatform } from "./site-platform.ts";

/** Told once everything is served: from here on sidecars and the gateway can be started. */
export interface SiteReady {
  readonly cluster: string;
  readonly fleetDomain: string;
  readonly hub: string;
  readonly adsPort: number;
  readonly adminPort: number;
  /** The gateway's credential folder (agent/site/credential-folder.ts): whole, and kept fresh. */
  readonly gatewayFolder: string;
}

export interface SiteDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly version: string;
  readonly onReady?: (ready: SiteReady) => void;
}

const TOKEN_CHECK_MS = 200;

/** Runs until the signal aborts. Throws a UserError for what a person must mend, and anything else for a fault of ours. */
export async function runSite(config: SiteConfig, signal: AbortSignal, deps: SiteDeps): Promise<void> {
  const { log } = deps;
  const { dataDir } = config;
  const metrics = createAgentMetrics();
  const surface = createAdminSurface(metrics.registry);
  const admin = await adminServer(config, surface);
  try {
    const source = await openSiteSource({ ...deps, ...config, range: config.loopbackRange });
    const key = await tokenKey(dataDir);
    const store = fileIdentityStore(join(dataDir, "identity.json"));
    const life = async (inner: AbortSignal) => {
      const joined = await joinSite(config, store, deps, inner);
      log.info("this site is a member", { cluster: joined.cluster, fleet: joined.fleetDomain, hub: joined.hub });
      const platform = sitePlatform({ ...deps, config, source, tokenKey: key });
      const telling = { ...surface, setMissing: tellReady(config, joined, { surface, deps }) };
      const member = {
        ...deps,
        config: memberConfig(config, deps.version),
        platform,
        store,
        metrics,
        surface: telling,
      };
      await runMember(member, joined, inner);
    };
    await runTasks(signal, [
      { name: "manifests", run: (inner) => source.run(inner) },
      { name: "member", run: life },
    ]);
  } finally {
    admin.close();
    admin.closeAllConnections();
  }
}

async function adminServer({ address, adminPort }: SiteConfig, surface: AdminSurface): Promise<Server> {
  try {
    return await startAdminServer(surface.views, adminPort, address);
  } catch (cause) {
    throw new UserError("ISTHMUS_LISTEN", `cannot listen on ${address}:${adminPort} for health and metrics`, {
      cause,
      hint: "another program (or another site) has the port: --admin-port, --ads-port",
    });
  }
}

async function joinSite(
  { tokenFile }: SiteConfig,
  store: IdentityStore,
  deps: SiteDeps,
  signal: AbortSignal,
): Promise<JoinedIdentity> {
  const isMember = heldIdentity(await store.load()) !== undefined;
  if (tokenFile === undefined && !isMember) {
    throw new UserError("ISTHMUS_TOKEN_FILE", "this site has not joined a fleet", {
      hint: "on the hub: isthmus token create NAME; then here: --token-file FILE",
    });
  }
  const read = isMember ? readToken : (file: string) => awaitToken(file, deps, signal);
  const token = tokenFile === undefined ? undefined : await read(tokenFile);
  return joinFleet(token, { ...deps, store, signal, agentVersion: deps.version });
}

/** The file may come after the site, as in Kubernetes the Secret may come after the chart. */
async function awaitToken(tokenFile: string, { clock, log }: SiteDeps, signal: AbortSignal): Promise<string> {
  let said = false;
  for (;;) {
    const token = await readToken(tokenFile);
    if (token !== undefined) return token;
    if (!said) log.info("waiting for a join token", { file: tokenFile, next: "isthmus token create NAME on the hub" });
    said = true;
    await clock.sleep(TOKEN_CHECK_MS, signal);
  }
}

function memberConfig(config: SiteConfig, version: string): MemberConfig {
  const { address, adsPort, svidTtlMs, permissive, egress, podLabel, policyFrom, region, zone } = config;
  return {
    namespace: systemNamespace,
    podName: hostname(),
    version,
    adsListen: address.includes(":") ? `[${address}]:${adsPort}` : `${address}:${adsPort}`,
    tokenFile: config.tokenFile,
    ...{ svidTtlMs, permissive, egress, podLabel, policyFrom, region, zone },
  };
}

/** Ready for the first time when nothing is missing any more. */
function tellReady(
  config: SiteConfig,
  { cluster, fleetDomain, hub }: JoinedIdentity,
  { surface, deps }: { readonly surface: AdminSurface; readonly deps: SiteDeps },
): AdminSurface["setMissing"] {
  let told = false;
  return (missing) => {
    surface.setMissing(missing);
    if (missing !== undefined || told) return;
    told = true;
    const { adsPort, adminPort, dataDir } = config;
    deps.onReady?.({ cluster, fleetDomain, hub, adsPort, adminPort, gatewayFolder: gatewayFolder(dataDir) });
  };
}
