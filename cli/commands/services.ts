// `isthmus services`: what the fleet exports, from which clusters, and how much of it is ready.
import { Command } from "commander";
import type { ServiceOverview } from "../../hub/api/fleet-overview.ts";
import { askOperator } from "../../hub/operator-client.ts";
import { dataFlag, dataOption, type DataOption } from "../data-folder.ts";
import { openOutput, table, type Format, type Streams } from "../output.ts";

export function servicesCommand(streams: Streams): Command {
  return new Command("services")
    .description("list the exported services of the fleet")
    .addOption(dataOption())
    .action((options: Options) => list(options, streams));
}

type Options = DataOption & { readonly output: Format };

async function list({ data, output }: Options, streams: Streams): Promise<void> {
  const answer = await askOperator(data, { method: "GET", path: "/v1/services" });
  const services = answer["services"] as readonly ServiceOverview[];
  const out = openOutput(output, streams);
  out.result(answer, services.length === 0 ? "no service is exported yet" : serviceTable(services));
  out.next(services.length === 0 ? "kubectl apply a ServiceExport in a cluster" : `isthmus status${dataFlag(data)}`);
}

export function serviceTable(services: readonly ServiceOverview[]): string {
  const rows = services.map(({ namespace, name, clusters }) => [
    namespace,
    name,
    clusters.map(({ cluster, ports }) => `${cluster} (${ports.map(readyText).join(", ")})`).join("  "),
  ]);
  return table([["NAMESPACE", "SERVICE", "CLUSTERS (PORT: READY/TOTAL)"], ...rows]);
}

function readyText({ port, ready, total }: ServiceOverview["clusters"][number]["ports"][number]): string {
  return `${port}: ${ready}/${total}`;
}
