// `isthmus confirm-restore`: an operator has looked at a Redis that held older data and lets tokens be redeemed again.
import { Command } from "commander";
import { askOperator } from "../../hub/operator-client.ts";
import { dataFlag, dataOption, type DataOption } from "../data-folder.ts";
import { openOutput, type Format, type Streams } from "../output.ts";

export function confirmRestoreCommand(streams: Streams): Command {
  return new Command("confirm-restore")
    .description("accept that Redis was restored from an older state, and redeem join tokens again")
    .addOption(dataOption())
    .action((options: Options) => confirm(options, streams));
}

type Options = DataOption & { readonly output: Format };

async function confirm({ data, output }: Options, streams: Streams): Promise<void> {
  const answer = await askOperator(data, { method: "POST", path: "/v1/confirm-restore" });
  const out = openOutput(output, streams);
  out.result(answer, "join tokens are redeemed again; clusters that joined after the restored state must join anew");
  out.next(`isthmus status${dataFlag(data)}`);
}
