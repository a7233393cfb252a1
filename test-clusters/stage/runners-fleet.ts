// The fleet that the runner of a suite brought up, which says in ISTHMUS_FLEET where it is. One table of scenarios runs on
// either kind; a row that only one kind can play asks which it is.
import { readFileSync } from "node:fs";
import process from "node:process";
import type { ClusterFleet } from "../joined/cluster-fleet.ts";
import type { FleetFile as ClusterFleetFile } from "../joined/joined-fleet.ts";
import type { SiteFleet, SiteFleetFile } from "../sites/site-fleet.ts";

export type RunnersFleetFile = ({ readonly kind: "clusters" } & ClusterFleetFile) | SiteFleetFile;
export type RunnersFleet = ClusterFleet | SiteFleet;

/** Throws where a scenario is run by itself. */
function fleetFile(): RunnersFleetFile {
  const file = process.env["ISTHMUS_FLEET"];
  if (file === undefined) throw new Error("ISTHMUS_FLEET is not set: run scenarios with npm run e2e -- SUITE");
  return JSON.parse(readFileSync(file, "utf8")) as RunnersFleetFile;
}

export function runnersFleetKind(): RunnersFleetFile["kind"] {
  return fleetFile().kind;
}

export async function openRunnersFleet(): Promise<RunnersFleet> {
  const file = fleetFile();
  if (file.kind === "sites") return (await import("../sites/site-fleet.ts")).openSiteFleet(file);
  const [{ clusterFleet }, { openJoinedFleet }] = await Promise.all([
    import("../joined/cluster-fleet.ts"),
    import("../joined/joined-fleet.ts"),
  ]);
  return clusterFleet(await openJoinedFleet(file));
}

/** For rows that speak to the clusters themselves. */
export function asClusters(fleet: RunnersFleet): ClusterFleet {
  if (fleet.kind !== "clusters") throw new Error("this row needs Kubernetes clusters");
  return fleet;
}

/** For rows that speak to the sites themselves. */
export function asSites(fleet: RunnersFleet): SiteFleet {
  if (fleet.kind !== "sites") throw new Error("this row needs sites");
  return fleet;
}
