// `isthmus clusters`: the members of the fleet, one line each.
import { Command } from "commander";
import type { ClusterOverview } from "../../hub/api/fleet-overview.ts";
import { askOperator } from "../../hub/operator-client.ts";
import { clusterTable } from "../cluster-table.ts";
import { dataFlag, dataOption, type DataOption } from "../data-folder.ts";
import { openOutput, type Format, type Streams } from "../output.ts";

export function clustersCommand(streams: Streams): Command {
  return new Command("clusters")
    .description("list the members of the fleet")
    .addOption(dataOption())
    .action((options: Options) => list(options, streams));
}

type Options = DataOption & { readonly output: Format };

async function list({ data, output }: Options, streams: Streams): Promise<void> {
  const answer = await askOperator(data, { method: "GET", path: "/v1/clusters" });
  const clusters = answer["clusters"] as readonly ClusterOverview[];
  const out = openOutput(output, streams);
  out.result(answer, clusters.length === 0 ? "no cluster has joined yet" : clusterTable(clusters, Date.now()));
  out.next(clusters.length === 0 ? `isthmus token create east${dataFlag(data)}` : `isthmus services${dataFlag(data)}`);
}
