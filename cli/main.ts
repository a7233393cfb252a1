// The `isthmus` command: one file per subcommand under ./commands, wired here. Called by isthmus.js. Turns whatever fails
// into one line and exit status 1.
import { Command, CommanderError, Option } from "commander";
import { UserError } from "../shared/errors.ts";
import { auditCommand } from "./commands/audit.ts";
import { clustersCommand } from "./commands/clusters.ts";
import { confirmRestoreCommand } from "./commands/confirm-restore.ts";
import { hubCommand } from "./commands/hub.ts";
import { initCommand } from "./commands/init.ts";
import { joinCommand } from "./commands/join.ts";
import { acceptCommand, rejectCommand, revokeCommand } from "./commands/membership.ts";
import { servicesCommand } from "./commands/services.ts";
import { statusCommand } from "./commands/status.ts";
import { tokenCommand } from "./commands/token.ts";
import { versionCommand } from "./commands/version.ts";
import { describeError, errorLine, type Streams } from "./output.ts";

const formats = ["text", "json"] as const;

function program(streams: Streams): Command {
  const root = new Command("isthmus")
    .description("joins Kubernetes clusters into one fleet: mutual TLS across clusters, policy, failover")
    .showHelpAfterError(false);
  const commands = [
    initCommand(streams),
    hubCommand(streams),
    tokenCommand(streams),
    joinCommand(streams),
    acceptCommand(streams),
    rejectCommand(streams),
    revokeCommand(streams),
    statusCommand(streams),
    clustersCommand(streams),
    servicesCommand(streams),
    auditCommand(streams),
    confirmRestoreCommand(streams),
    versionCommand(streams),
  ];
  for (const command of commands) root.addCommand(command);
  for (const command of commands.flatMap((command) => [command, ...command.commands])) {
    // a parent with the same option would take it from its subcommand
    const ownsOutput = command.commands.length > 0 || command.options.some(({ short }) => short === "-o");
    if (!ownsOutput)
      command.addOption(new Option("-o, --output <format>", "text or json").choices(formats).default("text"));
  }
  for (const command of [root, ...commands, ...commands.flatMap(({ commands: nested }) => nested)]) {
    command
      .exitOverride()
      .configureOutput({ writeOut: streams.stdout, writeErr: streams.stdout, outputError: () => undefined });
  }
  return root;
}

const processStreams: Streams = {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
};

export async function main(argv: readonly string[]): Promise<void> {
  process.exitCode = await runCommand(argv.slice(2), processStreams);
}

/** Runs one command to its end; the exit status. */
export async function runCommand(words: readonly string[], streams: Streams): Promise<number> {
  try {
    await program(streams).parseAsync(words, { from: "user" });
  } catch (error) {
    const failure = error instanceof CommanderError ? usageError(error) : error;
    if (failure === undefined) return 0;
    streams.stderr(`${asksJson(words) ? JSON.stringify({ error: describeError(failure) }) : errorLine(failure)}\n`);
    return 1;
  }
  return 0;
}

/** Read here once more, because a command line that cannot be parsed has no options. */
function asksJson(words: readonly string[]): boolean {
  return words.some(
    (word, at) =>
      ["-ojson", "--output=json"].includes(word) || (["-o", "--output"].includes(word) && words[at + 1] === "json"),
  );
}

/** Help that was asked for is no error. */
function usageError(error: CommanderError): UserError | undefined {
  if (error.exitCode === 0) return undefined;
  if (error.code === "commander.help") return undefined;
  const message = error.message.replace(/^error: /, "").replaceAll("'", '"');
  return new UserError("ISTHMUS_USAGE", message, { hint: "isthmus help [COMMAND] lists what there is" });
}

if (import.meta.main) await main(process.argv);
