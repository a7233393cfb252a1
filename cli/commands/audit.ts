// `isthmus audit`: what was done to the fleet, by whom and when. `--verify` needs no running hub: it reads the data folder and
// checks every entry against the one before it.
import { Command } from "commander";
import type { AuditEntry, ChainHead } from "../../hub/audit/chain.ts";
import { emptyChain } from "../../hub/audit/chain.ts";
import { readAudit } from "../../hub/audit/log.ts";
import { askOperator } from "../../hub/operator-client.ts";
import { dataFlag, dataOption, type DataOption } from "../data-folder.ts";
import { openOutput, table, type Format, type Streams } from "../output.ts";

type Options = DataOption & { readonly verify?: boolean; readonly output: Format };

export function auditCommand(streams: Streams): Command {
  return new Command("audit")
    .description("list joins, renewals, revocations and operators' commands")
    .addOption(dataOption())
    .option("--verify", "check that no entry was changed, removed or inserted")
    .action((options: Options) => (options.verify === true ? verify(options, streams) : list(options, streams)));
}

async function list({ data, output }: Options, streams: Streams): Promise<void> {
  const entries: AuditEntry[] = [];
  for (let after = 0; ;) {
    const page = (await askOperator(data, { method: "GET", path: `/v1/audit?after=${after}` }))["entries"];
    const read = page as readonly AuditEntry[];
    entries.push(...read);
    const last = read.at(-1);
    if (last === undefined) break;
    after = last.sequence;
  }
  const rows = entries.map(({ sequence, atMs, actor, action, subject, detail }) => [
    String(sequence),
    new Date(atMs).toISOString(),
    actor,
    action,
    subject,
    Object.entries(detail)
      .map(([name, value]) => `${name}=${String(value)}`)
      .join(" "),
  ]);
  const out = openOutput(output, streams);
  const empty = "nothing was recorded yet";
  out.result({ entries }, rows.length === 0 ? empty : table([["#", "TIME", "BY", "ACTION", "TO", "DETAIL"], ...rows]));
  out.next(`isthmus audit --verify${dataFlag(data)}`);
}

async function verify({ data, output }: Options, streams: Streams): Promise<void> {
  let head: ChainHead = emptyChain;
  for await (const { sequence, hash } of readAudit(data)) head = { sequence, hash };
  const { sequence, hash } = head;
  const out = openOutput(output, streams);
  out.result({ intact: true, entries: sequence, head: hash }, `${sequence} entries, each follows the one before it`);
  out.say(`the last one's hash is ${hash}; the hub's log shows the same`);
  out.next(`isthmus audit${dataFlag(data)}`);
}
