// Bench `revoke`: a member is cut off while it and another one call a third. How long new connections of the revoked member are
// still taken, how long its open ones live, and what everybody else loses.
import { clusterFleet } from "../joined/cluster-fleet.ts";
import { clusterNames } from "../joined/joined-fleet.ts";
import { openCutOff } from "../stage/cut-off.ts";
import type { FleetStage } from "../stage/fleet-under-test.ts";
import { atMost, type Bench, type BenchContext, type BenchResult } from "./bench.ts";

const BAR_NEW_MS = 5_000;
const BAR_CLOSED_MS = 30_000;

export const revoke: Bench = {
  name: "revoke",
  about: "isthmus revoke east under load: HTTP, gRPC, WebSocket and TCP of east and north to west",
  bar: `no new connection after ${BAR_NEW_MS / 1000} s, open ones closed in ${BAR_CLOSED_MS / 1000} s, others lose nothing`,
  minutes: 8,
  needsRoot: true,
  run: (context) => context.withJoinedFleet(clusterNames, (up) => measure(clusterFleet(up), context)),
  runOnSites: (context) => context.withSites(clusterNames, (fleet) => measure(fleet, context)),
};

async function measure(fleet: FleetStage, { progress }: BenchContext): Promise<BenchResult> {
  const cutOff = await progress.step("workloads with sidecars, and the first answers", () =>
    openCutOff(fleet, "bench-revoke"),
  );
  try {
    const result = await progress.step("revoke east", () => cutOff.revoke());
    const undoneMs = await progress.step("revoke --undo", () => cutOff.reinstate());
    const { newRefusedMs, closedMs, othersFailed, othersRequests, othersSaid } = result;
    const openClosedMs = Math.max(...Object.values(closedMs));
    return {
      figures: {
        new_refused_ms: newRefusedMs,
        open_closed_ms: openClosedMs,
        others_failed: othersFailed,
        open_closed_by_kind_ms: closedMs,
        others_requests: othersRequests,
        others_said: othersSaid,
        undone_ms: undoneMs,
      },
      bars: [
        atMost("the last new connection", newRefusedMs, BAR_NEW_MS, "ms"),
        atMost("the last open connection closed after", openClosedMs, BAR_CLOSED_MS, "ms"),
        atMost("lost by others", othersFailed, 0, `of ${othersRequests}`),
      ],
    };
  } finally {
    await cutOff.close();
  }
}
