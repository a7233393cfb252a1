// `isthmus trust`: the fleet's roots, the rotation that runs, who has acknowledged what, and who holds it up.
import { Command } from "commander";
import type { TrustOverview } from "../../hub/api/trust-overview.ts";
import { askOperator } from "../../hub/operator-client.ts";
import { dataFlag, dataOption, type DataOption } from "../data-folder.ts";
import { openOutput, type Format, type Streams } from "../output.ts";
import { trustText } from "../trust-text.ts";

type Options = DataOption & { readonly output: Format };

export function trustCommand(streams: Streams): Command {
  return new Command("trust")
    .description("show the fleet's roots, the rotation that runs and who holds it up")
    .addOption(dataOption())
    .action((options: Options) => trust(options, streams));
}

async function trust({ data, output }: Options, streams: Streams): Promise<void> {
  const answer = await askOperator(data, { method: "GET", path: "/v1/trust" });
  const overview = answer as unknown as TrustOverview;
  const out = openOutput(output, streams);
  out.result(answer, trustText(overview, Date.now()));
  out.next(nextCommand(overview, dataFlag(data)));
}

function nextCommand({ rotation }: TrustOverview, flag: string): string {
  if (rotation === undefined) return `isthmus rotate root${flag}`;
  const away = rotation.blockers.find((blocker) => blocker.away);
  return away === undefined ? `isthmus trust${flag}` : `isthmus rotate set-aside ${away.cluster}${flag}`;
}
