// `isthmus token create NAME`: a single-use token with which the cluster NAME may join. Standard output holds the token
// alone, so it can be redirected; --out writes it to a file that only this user may read.
import { Command } from "commander";
import { open } from "node:fs/promises";
import { askOperator } from "../../hub/operator-client.ts";
import { UserError } from "../../shared/errors.ts";
import { dataOption, type DataOption } from "../data-folder.ts";
import { openOutput, parseDuration, shortDuration, type Format, type Streams } from "../output.ts";

interface CreateOptions extends DataOption {
  readonly ttl: string;
  readonly out?: string;
  readonly rejoin?: boolean;
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
    .action((cluster: string, options: CreateOptions) => createToken(cluster, options, streams));
  return new Command("token").description("join tokens").addCommand(create);
}

async function createToken(cluster: string, options: CreateOptions, streams: Streams): Promise<void> {
  const ttlMs = parseDuration("--ttl", options.ttl);
  const body = { cluster, ttlMs, rejoin: options.rejoin === true };
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
