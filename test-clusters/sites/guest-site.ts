// One site that joins a fleet of Kubernetes clusters. It runs in the network namespace of the fleet's hub: the one place
// that is outside all clusters and that they reach. Needs the clusters' root; called by mixed.e2e.ts.
import { ensureEnvoy } from "../../shared/programs/envoy.ts";
import { silentProgress } from "../../shared/progress.ts";
import type { ClustersUp } from "../joined/joined-fleet.ts";
import type { Scene } from "../stage/fleet-under-test.ts";
import { environment } from "./site-fleet.ts";
import { siteMember, type SiteMember } from "./site-member.ts";
import { siteProcesses } from "./site-processes.ts";
import { openRun } from "./site-run.ts";
import { openSiteScene } from "./site-scene.ts";

export interface GuestSite {
  readonly member: SiteMember;
  openScene(namespace: string): Scene;
  down(): Promise<void>;
}

export async function joinGuest({ fleet, product }: ClustersUp, name: string): Promise<GuestSite> {
  const envoy = await ensureEnvoy(silentProgress);
  const run = await openRun([name], () => undefined);
  try {
    const processes = siteProcesses(run, { env: environment([]), netns: fleet.hub.netns });
    const [own] = run.places.sites;
    if (own === undefined) throw new Error("the run has no place");
    const member = siteMember({ ...run, place: { ...own, address: fleet.hub.address }, processes, envoy });
    await member.start();
    await product.isthmus(["token", "create", name, "--data", fleet.hub.dataDir, "--out", member.tokenFile]);
    await member.ready();
    return {
      member,
      openScene: (namespace) =>
        openSiteScene({
          ...{ namespace, processes, envoy, applications: "127.32." },
          members: new Map([[name, member]]),
        }),
      down: () => run.down(),
    };
  } catch (error) {
    await run.down();
    throw error;
  }
}
