// The `isthmus` command: one file per subcommand under ./commands, wired here. Called by isthmus.js. Turns whatever fails
// into one line and exit status 1.
import { Command, CommanderError, Option } from "commander";
import { UserError } from "../shared/errors.ts";
import { describeError, errorLine, type Streams } from "./output.ts";

const formats = ["text", "json"] as const;

/** Ends this program with another status than 0 though nothing failed: `isthmus run` passes the application's on. */
type EndWith = (status: number) => void;
type MakeCommand = (streams: Streams, endWith: EndWith) => Command;

/** Loaded when asked for: each brings its own world along, and some live for days in little memory. In the order of the help. */
const commandsByName: Readonly<Record<string, () => Promise<MakeCommand>>> = {
  init: async () => (await import("./commands/init.ts")).initCommand,
  hub: async () => (await import("./commands/hub.ts")).hubCommand,
  token: async () => (await import("./commands/token.ts")).tokenCommand,
  join: async () => (await import("./commands/join.ts")).joinCommand,
  site: async () => (await import("./commands/site.ts")).siteCommand,
  run: async () => (await import("./commands/run.ts")).workloadCommand,
  accept: async () => (await import("./commands/membership.ts")).acceptCommand,
  reject: async () => (await import("./commands/membership.ts")).rejectCommand,
  leave: async () => (await import("./commands/leave.ts")).leaveCommand,
  revoke: async () => (await import("./commands/membership.ts")).revokeCommand,
  trust: async () => (await import("./commands/trust.ts")).trustCommand,
  rotate: async () => (await import("./commands/rotate.ts")).rotateCommand,
  root: async () => (await import("./commands/root.ts")).rootCommand,
  federate: async () => (await import("./commands/federate.ts")).federateCommand,
  status: async () => (await import("./commands/status.ts")).statusCommand,
  clusters: async () => (await import("./commands/clusters.ts")).clustersCommand,
  services: async () => (await import("./commands/services.ts")).servicesCommand,
  explain: async () => (await import("./commands/explain.ts")).explainCommand,
  policy: async () => (await import("./commands/policy.ts")).policyCommand,
  audit: async () => (await import("./commands/audit.ts")).auditCommand,
  "confirm-restore": async () => (await import("./commands/confirm-restore.ts")).confirmRestoreCommand,
  version: async () => (await import("./commands/version.ts")).versionCommand,
};

/** The named command alone, or all of them when none is named. */
async function program(name: string, streams: Streams, endWith: EndWith): Promise<Command> {
  const root = new Command("isthmus")
    .description("joins Kubernetes clusters into one fleet: mutual TLS across clusters, policy, failover")
    .showHelpAfterError(false);
  const named = Object.hasOwn(commandsByName, name) ? commandsByName[name] : undefined;
  const loaded = await Promise.all(
    (named === undefined ? Object.values(commandsByName) : [named]).map((load) => load()),
  );
  const commands = loaded.map((make) => make(streams, endWith));
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
  let ending = 0;
  try {
    const root = await program(words[0] ?? "", streams, (status) => (ending = status));
    await root.parseAsync(words, { from: "user" });
  } catch (error) {
    const failure = error instanceof CommanderError ? usageError(error) : error;
    if (failure === undefined) return 0;
    streams.stderr(`${asksJson(words) ? JSON.stringify({ error: describeError(failure) }) : errorLine(failure)}\n`);
    return ending === 0 ? 1 : ending;
  }
  return ending;
}

/** Read here once more, because a command line that cannot be parsed has no options. */
function asksJson(words: readonly string[]): boolean {
  const own = words.includes("--") ? words.slice(0, words.indexOf("--")) : words;
  return own.some(
    (word, at) =>
      ["-ojson", "--output=json"].includes(word) || (["-o", "--output"].includes(word) && own[at + 1] === "json"),
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
