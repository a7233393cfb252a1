// Members as a table: what `isthmus status` and `isthmus clusters` print. Pure.
import type { ClusterOverview } from "../hub/api/fleet-overview.ts";
import { shortDuration, table } from "./output.ts";

const header = [
  "CLUSTER",
  "STATE",
  "AGENTS",
  "VERSION",
  "SEEN",
  "BEHIND",
  "PROXIES",
  "GATEWAYS",
  "EXPORTS",
  "IMPORTS",
  "CA ENDS",
  "AGENT ENDS",
  "PROBLEMS",
];

export function clusterTable(clusters: readonly ClusterOverview[], nowMs: number): string {
  return table([header, ...clusters.map((cluster) => row(cluster, nowMs))]);
}

function row(cluster: ClusterOverview, nowMs: number): readonly string[] {
  const { reportAgeMs } = cluster;
  const identity = [cluster.cluster, cluster.state];
  const never = reportAgeMs === undefined;
  if (never) return [...identity, "0", ...Array<string>(header.length - 3).fill("-")];
  const counts = [cluster.behind, cluster.proxies, cluster.gatewaysReady, cluster.servicesExported];
  return [
    ...identity,
    String(cluster.agents),
    cluster.agentVersion,
    shortDuration(reportAgeMs),
    ...[...counts, cluster.servicesImported].map(String),
    ends(cluster.clusterCaNotAfterMs, nowMs),
    ends(cluster.agentNotAfterMs, nowMs),
    String(cluster.problems.length),
  ];
}

function ends(notAfterMs: number, nowMs: number): string {
  if (notAfterMs === 0) return "-";
  return notAfterMs <= nowMs ? "ENDED" : `in ${shortDuration(notAfterMs - nowMs)}`;
}
