// `isthmus status`: the fleet on one screen: hub, members, and what a person must look at.
import { Command } from "commander";
import type { ClusterOverview, FleetOverview } from "../../hub/api/fleet-overview.ts";
import { askOperator } from "../../hub/operator-client.ts";
import { clusterTable } from "../cluster-table.ts";
import { dataFlag, dataOption, type DataOption } from "../data-folder.ts";
import { openOutput, shortDuration, table, type Format, type Streams } from "../output.ts";

/** More would scroll the members away; -o json has them all. */
const shownProblems = 20;

export function statusCommand(streams: Streams): Command {
  return new Command("status")
    .description("show the fleet on one screen")
    .addOption(dataOption())
    .action((options: Options) => status(options, streams));
}

type Options = DataOption & { readonly output: Format };

async function status({ data, output }: Options, streams: Streams): Promise<void> {
  const fleet = (await askOperator(data, { method: "GET", path: "/v1/status" })) as unknown as FleetOverview;
  const out = openOutput(output, streams);
  out.result(fleet, statusText(fleet));
  out.next(nextCommand(fleet, dataFlag(data)));
}

export function statusText(fleet: FleetOverview): string {
  const { fleetDomain, hub, version, revision, records, redis, clusters, nowMs } = fleet;
  const head = `fleet ${fleetDomain}   hub ${hub} (${version})   revision ${revision}   records ${records}   redis ${redis}`;
  return [
    head,
    ...warnings(fleet),
    "",
    clusters.length === 0 ? "no cluster has joined yet" : clusterTable(clusters, nowMs),
    ...problemLines(clusters, nowMs),
  ].join("\n");
}

function warnings({ redis, restored, signing }: FleetOverview): readonly string[] {
  return [
    ...(redis === "away" ? ["WARNING: the hub cannot reach its Redis: members keep their last state"] : []),
    ...(restored
      ? ["WARNING: Redis held older data than the hub had seen: no token is redeemed until you confirm"]
      : []),
    ...signing.map(({ code, message }) => `WARNING: ${message} (${code})`),
  ];
}

function problemLines(clusters: readonly ClusterOverview[], nowMs: number): readonly string[] {
  const problems = clusters.flatMap(({ cluster, problems: own }) => own.map((problem) => ({ cluster, ...problem })));
  if (problems.length === 0) return [];
  const rows = problems
    .slice(0, shownProblems)
    .map(({ cluster, code, object, message, sinceMs }) => [
      cluster,
      sinceMs === 0 ? "-" : shortDuration(nowMs - sinceMs),
      code,
      object,
      message,
    ]);
  const more = problems.length - rows.length;
  return [
    "",
    table([["CLUSTER", "SINCE", "PROBLEM", "OBJECT", "MESSAGE"], ...rows]),
    ...(more > 0 ? [`and ${more} more: isthmus status -o json`] : []),
  ];
}

function nextCommand({ clusters, restored }: FleetOverview, data: string): string {
  if (restored) return `isthmus confirm-restore${data}`;
  const silent = clusters.find(({ state }) => state === "silent" || state === "joined");
  if (silent !== undefined) return `kubectl --context ${silent.cluster} -n isthmus-system get pods`;
  return clusters.length < 2 ? `isthmus token create NAME${data}` : `isthmus services${data}`;
}
