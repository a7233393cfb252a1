// The agent from its start: health surface, Kubernetes, the way into the fleet, then the life of a member. Constructs, with
// kubernetes-platform.ts and member.ts; decides nothing.
import type { Clock } from "../shared/clock.ts";
import { runTasks } from "../shared/lifecycle.ts";
import type { Log } from "../shared/log.ts";
import { createAdminSurface, startAdminServer } from "./admin-http.ts";
import type { AgentConfig } from "./config.ts";
import { ensureJoined } from "./joining.ts";
import { openKube } from "./kube/kube.ts";
import { secretIdentityStore, secretStore } from "./kube/secret-store.ts";
import { kubernetesPlatform } from "./kubernetes-platform.ts";
import { runMember } from "./member.ts";
import { createAgentMetrics } from "./metrics.ts";

/** Keys and chains of this member; the chart's Role names it, and nobody else may read it. */
export const identitySecret = "isthmus-cluster-ca";

export interface AgentDeps {
  readonly config: AgentConfig;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** Runs until the signal aborts. Throws a UserError for what a person must mend, and anything else for a fault of ours. */
export async function runAgent(deps: AgentDeps, signal: AbortSignal): Promise<void> {
  const { config, log } = deps;
  const metrics = createAgentMetrics();
  const surface = createAdminSurface(metrics.registry);
  const admin = await startAdminServer(surface.views, config.adminPort);
  const connection =
    config.kubeconfigPath === ""
      ? ({ kind: "in-cluster" } as const)
      : ({ kind: "kubeconfig", path: config.kubeconfigPath } as const);
  const kube = await openKube({ ...deps, connection, names: { system: config.namespace } });
  const at = { namespace: config.namespace, name: identitySecret };
  const store = secretIdentityStore(secretStore(kube.client, at), at);
  const platform = kubernetesPlatform({ kube, config, metrics });
  const memberConfig = { ...config, adsListen: `[::]:${config.adsPort}` };
  const life = async (inner: AbortSignal) => {
    const joined = await ensureJoined({ ...deps, ...config, store }, inner);
    log.info("this cluster is a member", { cluster: joined.cluster, fleet: joined.fleetDomain, hub: joined.hub });
    await runMember({ ...deps, config: memberConfig, platform, store, metrics, surface }, joined, inner);
  };
  try {
    await runTasks(signal, [
      { name: "kubernetes", run: kube.run },
      { name: "member", run: life },
    ]);
  } finally {
    admin.close();
    admin.closeAllConnections();
  }
}
