// After everything else on a fleet of clusters: what the agents and gateways were allowed and never needed, and what they
// wanted and were not allowed, as the API servers wrote it down.
import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { parseAuditLog, refusedRequests, unusedGrants } from "../../deploy/rbac-audit.ts";
import { asClusters, openRunnersFleet, runnersFleetKind } from "../stage/runners-fleet.ts";

describe.skipIf(runnersFleetKind() !== "clusters")("the permissions of the charts", async () => {
  const fleet = runnersFleetKind() === "clusters" ? asClusters(await openRunnersFleet()) : undefined;
  const clusters = [...(fleet?.up.fleet.clusters.values() ?? [])];
  const logs = await Promise.all(clusters.map(({ auditLog }) => readFile(auditLog, "utf8")));
  const events = logs.flatMap(parseAuditLog);

  test("were all used, but for those that the table calls rare", () => {
    expect(unusedGrants(events)).toEqual([]);
  });

  test("were enough: no request of ours was refused", () => {
    expect(refusedRequests(events)).toEqual([]);
  });
});
