// `isthmus site`: runs a site in the foreground: its agent, and its gateway's Envoy as a child.
import { Command } from "commander";
import { constants, userInfo } from "node:os";
import { resolve } from "node:path";
import process from "node:process";
import { systemClock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import { runTasks } from "../../shared/lifecycle.ts";
import { jsonLog } from "../../shared/log.ts";
import { lineProgress } from "../../shared/progress.ts";
import type { SiteConfig, SiteOptions } from "../../agent/site/site-config.ts";
import type { SiteReady } from "../../agent/site-agent.ts";
import { openOutput, userErrorIn, type Format, type Output, type Streams } from "../output.ts";
import { ownCommand } from "../own-command.ts";
import { runGateway } from "../site-gateway.ts";
import { siteDataFlag, siteDataOption } from "../site-folder.ts";
import { stopSignals } from "../stop-signals.ts";
import { systemdUnit } from "../systemd-unit.ts";
import { ownVersion } from "../version.ts";
import { openRunFolder, runFolderPath, type RunFolder } from "../workload/run-folder.ts";

interface Options extends SiteOptions {
  readonly envoy?: string;
  readonly printSystemd?: boolean;
  readonly output: Format;
}

const STOP_SECONDS = 30;

export function siteCommand(streams: Streams, endWith: (status: number) => void): Command {
  return new Command("site")
    .description("run a site: a member of the fleet without Kubernetes, from a folder of manifests")
    .addOption(siteDataOption())
    .requiredOption("--manifests <dir>", "folder of manifests: Service, Workload, TrafficTarget and others")
    .option("--token-file <file>", "join token, until the site has joined: isthmus token create NAME --out FILE")
    .option("--address <ip>", "where the site's sidecars reach its agent (default: 127.0.0.1)")
    .option("--ads-port <port>", "port of the agent for sidecars (default: 15128)")
    .option("--admin-port <port>", "health and metrics (default: 15014)")
    .option("--gateway <ip:port>", "where the gateway listens for other members (default: 0.0.0.0:15443)")
    .option("--advertise <ip:port>", "where other members reach the gateway (default: as --gateway)")
    .option("--loopback-range <cidr|none>", "loopback addresses for workloads and services (default: 127.64.0.0/12)")
    .option("--envoy <path>", "Envoy to start (default: PATH, else one that is fetched)")
    .option("--region <name>", "where this site is")
    .option("--zone <name>", "where in the region")
    .option("--permissive", "workloads may call each other without a TrafficTarget")
    .option("--no-egress", "workloads may call services of the mesh only")
    .option("--no-pod-label", "count requests without the labels source_pod and destination_pod")
    .option(
      "--policy-from <members>",
      "whose SMI objects are copied here where they ask for it: names, * or none (default: *)",
    )
    .option("--svid-ttl <duration>", "life of workloads' certificates (default: 1h)")
    .option("--log-level <level>", "debug, info, warn or error", "info")
    .option("--print-systemd", "print a systemd unit for this command and end")
    .action((options: Options) => site(options, streams, endWith));
}

async function site(options: Options, streams: Streams, endWith: (status: number) => void): Promise<void> {
  if (options.printSystemd === true) {
    streams.stdout(unit(options));
    return;
  }
  // loaded here, because every other command would pay for it
  const { parseSiteOptions } = await import("../../agent/site/site-config.ts");
  const config = await parseSiteOptions(options);
  const from = { kind: "data", dir: config.dataDir } as const;
  const path = runFolderPath("gateway", { from, env: process.env, uid: process.getuid?.() ?? 0 });
  const folder = await openRunFolder(path, (pid) => runsAlready(config, pid));
  const { stop, kill, release } = stopSignals();
  kill.addEventListener("abort", () => process.exit(128 + constants.signals[kill.reason as NodeJS.Signals]));
  try {
    const run: SiteRun = { config, options, folder, out: openOutput(options.output, streams) };
    while (!stop.aborted) await runBoth(run, stop).catch(unlessRejoins);
    endWith(0);
  } finally {
    release();
    await folder.remove();
  }
}

/** A site that had left and has a new token begins anew, all of it. */
function unlessRejoins(error: unknown): void {
  if (userErrorIn(error)?.code !== "ISTHMUS_REJOIN") throw error;
}

interface SiteRun {
  readonly config: SiteConfig;
  readonly options: Options;
  readonly folder: RunFolder;
  readonly out: Output;
}

/** Agent and gateway end together; the gateway starts when the agent has a configuration for it. */
async function runBoth({ config, options, folder, out }: SiteRun, stop: AbortSignal): Promise<void> {
  const [{ runSite }, { findEnvoy }, { boundProxy }] = await Promise.all([
    import("../../agent/site-agent.ts"),
    import("../../shared/programs/envoy.ts"),
    import("../../agent/xds/bound-proxy.ts"),
  ]);
  const log = jsonLog(config.logLevel, (line) => void process.stderr.write(line), { program: "site" });
  const ready = Promise.withResolvers<SiteReady>();
  const progress = lineProgress((line) => out.say(line));
  const envoy = await findEnvoy({ given: options.envoy, progress });
  const gateway = { program: envoy.path, folder, bind: config.gatewayBind, makeProxy: boundProxy };
  const deps = { clock: systemClock, random: Math.random, log, version: ownVersion() };
  await runTasks(stop, [
    { name: "site", run: (signal) => runSite(config, signal, { ...deps, onReady: (facts) => ready.resolve(facts) }) },
    {
      name: "gateway",
      run: async (signal) => {
        const facts = await unlessAborted(ready.promise, signal);
        const onReady = (pid: number | undefined) => tell(facts, pid, { config, options, out });
        await runGateway(
          gateway,
          facts.gatewayFolder,
          { clock: systemClock, say: (line) => log.warn(line), onReady },
          signal,
        );
      },
    },
  ]);
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(new Error("ended before it was ready", { cause: signal.reason }));
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function tell(
  { cluster, fleetDomain, hub, adsPort, adminPort }: SiteReady,
  gatewayPid: number | undefined,
  { config, options, out }: Pick<SiteRun, "config" | "options" | "out">,
): void {
  const { dataDir, advertise } = config;
  const document = { cluster, fleetDomain, hub, dataDir, adsPort, adminPort, gateway: advertise, gatewayPid };
  if (out.format === "json") out.result(document, "");
  out.say(
    `the site ${cluster} of the fleet ${fleetDomain} is ready; its gateway is reached at ${advertise.host}:${advertise.port}`,
  );
  out.next(`isthmus run --service NAME --account NAME --port 8080=9090${siteDataFlag(options.data)} -- COMMAND`);
}

function runsAlready({ dataDir }: SiteConfig, pid: number): UserError {
  return new UserError("ISTHMUS_SITE_RUNNING", `a site already runs on ${dataDir}, as process ${pid}`, {
    hint: "stop it first, or use another data folder",
  });
}

function unit(options: Options): string {
  const paths = ["data", "manifests", "tokenFile", "envoy"] as const;
  const words = [
    ...[
      "address",
      "adsPort",
      "adminPort",
      "gateway",
      "advertise",
      "loopbackRange",
      "policyFrom",
      "region",
      "zone",
      "logLevel",
    ],
  ] as const;
  const flag = (name: string) => `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const given = (name: keyof Options, text: (value: string) => string) => {
    const value = options[name];
    return value === undefined ? [] : [flag(name), text(String(value))];
  };
  return systemdUnit({
    description: "Isthmus site",
    user: userInfo().username,
    workingDirectory: process.cwd(),
    command: [
      ...ownCommand(),
      "site",
      ...paths.flatMap((name) => given(name, (path) => resolve(path))),
      ...words.flatMap((name) => given(name as keyof Options, String)),
      ...(options.permissive === true ? ["--permissive"] : []),
      ...(options.egress === false ? ["--no-egress"] : []),
      ...(options.podLabel === false ? ["--no-pod-label"] : []),
    ],
    stopSeconds: STOP_SECONDS,
  });
}
