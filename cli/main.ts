// The `isthmus` command: one file per subcommand under ./commands, wired here. Called by isthmus.js. Turns whatever fails
// into one line and exit status 1.
import { Command, CommanderError, Option } from "commander";
import { UserError } from "../shared/errors.ts";
import { clustersCommand } from "./commands/clusters.ts";
import { confirmRestoreCommand } from "./commands/confirm-restore.ts";
import { hubCommand } from "./commands/hub.ts";
import { initCommand } from "./commands/init.ts";
import { joinCommand } from "./commands/join.ts";
import { servicesCommand } from "./commands/services.ts";
import { statusCommand } from "./commands/status.ts";
import { tokenCommand } from "./commands/token.ts";
import { versionCommand } from "./commands/version.ts";
import { describeError, errorLine } from "./output.ts";

const formats = ["text", "json"] as const;

function program(): Command {
  const root = new Command("isthmus")
    .description("joins Kubernetes clusters into one fleet: mutual TLS across clusters, policy, failover")
    .showHelpAfterError(false);
  const commands = [
    initCommand(),
    hubCommand(),
    tokenCommand(),
    joinCommand(),
    statusCommand(),
    clustersCommand(),
    servicesCommand(),
    confirmRestoreCommand(),
    versionCommand(),
  ];
  for (const command of commands) root.addCommand(command);
  for (const command of commands.flatMap((command) => [command, ...command.commands])) {
    const ownsOutput = command.options.some(({ short }) => short === "-o");
    if (!ownsOutput)
      command.addOption(new Option("-o, --output <format>", "text or json").choices(formats).default("text"));
  }
  for (const command of [root, ...commands, ...commands.flatMap(({ commands: nested }) => nested)]) {
    command.exitOverride().configureOutput({ outputError: () => undefined });
  }
  return root;
}

export async function main(argv: readonly string[]): Promise<void> {
  try {
    await program().parseAsync(argv);
  } catch (error) {
    const failure = error instanceof CommanderError ? usageError(error) : error;
    if (failure === undefined) return;
    const asJson = argv.some((word, at) => word === "-ojson" || word === "--output=json" || isJsonFlag(argv, at));
    process.stderr.write(`${asJson ? JSON.stringify({ error: describeError(failure) }) : errorLine(failure)}\n`);
    process.exitCode = 1;
  }
}

function isJsonFlag(argv: readonly string[], at: number): boolean {
  return ["-o", "--output"].includes(argv[at] ?? "") && argv[at + 1] === "json";
}

/** Help that was asked for is no error. */
function usageError(error: CommanderError): UserError | undefined {
  if (error.exitCode === 0) return undefined;
  if (error.code === "commander.help") return undefined;
  const message = error.message.replace(/^error: /, "").replaceAll("'", '"');
  return new UserError("ISTHMUS_USAGE", message, { hint: "isthmus help [COMMAND] lists what there is" });
}

if (import.meta.main) await main(process.argv);
