// `isthmus run`: a workload of a site: its sidecar, then its application, for as long as the application lives.
import { Command } from "commander";
import { constants, userInfo } from "node:os";
import { resolve } from "node:path";
import process from "node:process";
import { systemClock } from "../../shared/clock.ts";
import { lineProgress } from "../../shared/progress.ts";
import { openOutput, type Output, type Streams } from "../output.ts";
import { ownCommand } from "../own-command.ts";
import { siteDataOption } from "../site-folder.ts";
import { stopSignals } from "../stop-signals.ts";
import { systemdUnit } from "../systemd-unit.ts";
import { ApplicationError, findApplication } from "../workload/application.ts";
import { parseRunOptions, type RunConfig, type RunOptions } from "../workload/options.ts";
import { runWorkload, type Running } from "../workload/running.ts";

/** Drain, the application's grace and a margin. */
const STOP_SECONDS = 30;

export function workloadCommand(streams: Streams, endWith: (status: number) => void): Command {
  const collect = (value: string, before: readonly string[]) => [...before, value];
  return new Command("run")
    .description("run a program as a workload of a site, with its sidecar beside it")
    .argument("[command...]", "the program and its arguments, after --")
    .option("--service <name>", "service that it is an endpoint of")
    .option("--account <name>", "service account that it acts as")
    .option("--namespace <name>", "its namespace", "default")
    .option("--name <name>", "its own name (default: the service)")
    .option(
      "--port <port>",
      "port the sidecar takes for it: 8080, 8080=9090 or 5432=5433/tcp (repeatable)",
      collect,
      [],
    )
    .option("--health <path|tcp>", "how the site's agent asks whether it is well")
    .addOption(siteDataOption())
    .option("--credential <dir>", "credential folder brought from the site, instead of --data")
    .option("--redirect", "lead all that the program sends over TCP, and its DNS, into its sidecar (root, Linux)")
    .option("--user <name>", "user of the program and its sidecar, when root starts them")
    .option("--dns-forward", "its DNS asks for other names at the machine's resolvers")
    .option("--envoy <path>", "Envoy to start (default: PATH, else one that is fetched)")
    .option("--print-systemd", "print a systemd unit for this command and end")
    .action((command: readonly string[], options: RunOptions) => run(command, options, streams, endWith));
}

async function run(
  command: readonly string[],
  options: RunOptions,
  streams: Streams,
  endWith: (status: number) => void,
): Promise<void> {
  const config = parseRunOptions(options, command);
  const out = openOutput(options.output, streams);
  if (options.printSystemd === true) {
    streams.stdout(await unit(config, options));
    return;
  }
  const { stop, kill, release } = stopSignals();
  // loaded when they are needed: this program lives as long as the application, and should weigh little
  const deps = {
    clock: systemClock,
    env: process.env,
    findEnvoy: async () => {
      const { findEnvoy } = await import("../../shared/programs/envoy.ts");
      return (await findEnvoy({ given: config.envoy, progress: lineProgress((line) => out.say(line)) })).path;
    },
    makeProxy: (await import("../../agent/xds/bound-proxy.ts")).boundProxy,
    say: (line: string) => out.say(line),
    onReady: (running: Running) => tell(running, out),
  };
  try {
    endWith(await runWorkload(config, deps, { stop, kill }));
  } catch (error) {
    if (error instanceof ApplicationError) endWith(error.exitStatus);
    const stopped = stop.aborted && error instanceof Error && error.cause === stop.reason;
    if (!stopped) throw error;
    endWith(128 + constants.signals[stop.reason as NodeJS.Signals]); // before the application was started
  } finally {
    release();
  }
}

function tell({ credential, dns, sidecarPid, applicationPid }: Running, out: Output): void {
  const { namespace, name, serviceAccount, cluster, fleetDomain, sidecar } = credential;
  const { httpProxy, inboundAddresses, applications } = sidecar;
  const identity = `spiffe://${cluster}.${fleetDomain}/ns/${namespace}/sa/${serviceAccount}`;
  const document = { identity, httpProxy, dns, inboundAddresses, applications, sidecarPid, applicationPid };
  if (out.format === "json") out.result(document, "");
  out.say(`${namespace}/${name} runs as ${identity}`);
  if (sidecar.redirect !== undefined) out.say("all that it sends over TCP is led into its sidecar");
  else out.say(`its calls go out by the HTTP proxy http://${httpProxy.address}:${httpProxy.port}`);
  const [names] = dns.map(({ address, port }) => `${address}:${port}`);
  if (names !== undefined) out.say(`names of services are answered by DNS at ${names}`);
  for (const { port, address, applicationPort } of applications) {
    const taken = inboundAddresses.map((inbound) => `${inbound}:${port}`).join(", ");
    out.say(`calls to ${taken} are answered by ${address}:${applicationPort}`);
  }
}

async function unit({ workload, from, envoy, dnsForward, command }: RunConfig, options: RunOptions): Promise<string> {
  const program = await findApplication(command[0] ?? "", process.env);
  const place = from.kind === "data" ? ["--data", resolve(from.dir)] : ["--credential", resolve(from.dir)];
  const own = [
    ...ownCommand(),
    "run",
    ...(workload.service === "" ? [] : ["--service", workload.service]),
    ...["--account", workload.serviceAccount, "--namespace", workload.namespace, "--name", workload.name],
    ...options.port.flatMap((port) => ["--port", port]),
    ...(options.health === undefined ? [] : ["--health", options.health]),
    ...place,
    ...(dnsForward ? ["--dns-forward"] : []),
    ...(workload.redirect ? ["--redirect"] : []),
    ...(workload.user === "" ? [] : ["--user", workload.user]),
    ...(envoy === undefined ? [] : ["--envoy", resolve(envoy)]),
    "--",
    resolve(program),
    ...command.slice(1),
  ];
  return systemdUnit({
    description: `Isthmus workload ${workload.namespace}/${workload.name}`,
    // root starts it for the user that it names
    user: workload.redirect || workload.user !== "" ? "root" : userInfo().username,
    workingDirectory: process.cwd(),
    command: own,
    stopSeconds: STOP_SECONDS,
    delegate: workload.redirect,
  });
}
