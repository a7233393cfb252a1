// `isthmus token create | list | revoke`. `create NAME`: a single-use token with which the cluster NAME may join. Standard output holds the token
// alone, so it can be redirected; --out writes it to a file that only this user may read.
import { Command } from "commander";
import { open } from "node:fs/promises";
import { askOperator } from "../../hub/operator-client.ts";
import { UserError } from "../../shared/errors.ts";
import type { TokenOverview } from "../../hub/store/tokens.ts";
import { dataFlag, dataOption, type DataOption } from "../data-folder.ts";
import { parseDuration } from "../../shared/duration.ts";
import { openOutput, shortDuration, table, type Format, type Streams } from "../output.ts";

interface CreateOptions extends DataOption {
  readonly ttl: string;
  readonly out?: string;
  readonly rejoin?: boolean;
  readonly accept?: boolean;
  readonly trustFormer?: boolean;
  readonly output: Format;
}

interface CreatedToken {
  readonly id: string;
  readonly cluster: string;
  readonly expiresAtMs: number;
  readonly token: string;
}

export function tokenCommand(streams: Streams): Command {
  const create = new Command("create")
    .description("make a single-use token with which a cluster may join")
    .argument("<cluster>", "name the cluster will have in the fleet: a DNS label")
    .addOption(dataOption())
    .option("--ttl <duration>", "how long it may be used: 90s, 15m, 2h; at most 24h", "15m")
    .option("--out <file>", "write it to a new file with mode 0600 instead of printing it")
    .option("--rejoin", "let it replace the keys of a cluster that is a member already")
    .option(
      "--trust-former",
      "give a name away that was left, although certificates of its former life are trusted with it until they end",
    )
    .option("--accept", "let it in only after isthmus accept, so that a token that leaked is not enough")
    .action((cluster: string, options: CreateOptions) => createToken(cluster, options, streams));
  const list = new Command("list")
    .description("list join tokens: unused, redeemed, expired, withdrawn")
    .addOption(dataOption())
    .action((options: DataOption & Formatted) => listTokens(options, streams));
  const revoke = new Command("revoke")
    .description("withdraw a token that nobody has redeemed yet")
    .argument("<id>", "the token's id: see isthmus token list")
    .addOption(dataOption())
    .action((id: string, options: DataOption & Formatted) => revokeToken(id, options, streams));
  const commands = [create, list, revoke];
  return commands.reduce(
    (token, command) => token.addCommand(command),
    new Command("token").description("join tokens"),
  );
}

interface Formatted {
  readonly output: Format;
}

async function listTokens({ data, output }: DataOption & Formatted, streams: Streams): Promise<void> {
  const answer = await askOperator(data, { method: "GET", path: "/v1/tokens" });
  const tokens = answer["tokens"] as readonly TokenOverview[];
  const nowMs = Date.now();
  const rows = tokens.map(({ id, cluster, state, expiresAtMs, mustBeAccepted, refused }) => [
    id,
    cluster,
    state,
    expiresAtMs > nowMs ? `in ${shortDuration(expiresAtMs - nowMs)}` : `${shortDuration(nowMs - expiresAtMs)} ago`,
    mustBeAccepted ? "yes" : "no",
    String(refused),
  ]);
  const header = ["ID", "CLUSTER", "STATE", "EXPIRES", "ACCEPT", "REFUSED"];
  const out = openOutput(output, streams);
  out.result(answer, rows.length === 0 ? "no token was made within the last day" : table([header, ...rows]));
  if (tokens.some(({ refused }) => refused > 0)) {
    out.say("REFUSED counts attempts with other keys or a wrong secret: somebody else may have had that token");
  }
  out.next(`isthmus token create east${dataFlag(data)}`);
}

async function revokeToken(id: string, { data, output }: DataOption & Formatted, streams: Streams): Promise<void> {
  const answer = await askOperator(data, { method: "POST", path: `/v1/tokens/${encodeURIComponent(id)}/withdraw` });
  const out = openOutput(output, streams);
  out.result(answer, `nobody can join with the token ${id} any more`);
  out.next(`isthmus token list${dataFlag(data)}`);
}

async function createToken(cluster: string, options: CreateOptions, streams: Streams): Promise<void> {
  const ttlMs = parseDuration("--ttl", options.ttl);
  const body = {
    cluster,
    ttlMs,
    rejoin: options.rejoin === true,
    mustBeAccepted: options.accept === true,
    trustFormer: options.trustFormer === true,
  };
  const created = (await askOperator(options.data, {
    method: "POST",
    path: "/v1/tokens",
    body,
  })) as unknown as CreatedToken;
  const { token, ...facts } = created;
  const out = openOutput(options.output, streams);
  if (options.out === undefined) out.result(created, token);
  else {
    await writeToken(options.out, token);
    out.result({ ...facts, file: options.out }, `the token is in ${options.out}`);
  }
  out.say(
    `it joins ${cluster}, once, within ${shortDuration(created.expiresAtMs - Date.now())}; whoever has it can use it`,
  );
  if (options.accept === true) out.say(`it is let in after: isthmus accept ${cluster}${dataFlag(options.data)}`);
  out.next(`isthmus join --token-file ${options.out ?? "FILE"} --context ${cluster}`);
}

async function writeToken(path: string, token: string): Promise<void> {
  try {
    // a token of before is overwritten, its mode set again: it may have been made by another program
    const file = await open(path, "w", 0o600);
    try {
      await file.chmod(0o600);
      await file.writeFile(`${token}\n`);
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw new UserError("ISTHMUS_FILE", `cannot write ${path}`, {
      cause,
      hint: "choose another file with --out; the token that was made expires unused",
    });
  }
}
