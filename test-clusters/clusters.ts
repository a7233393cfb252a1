// `npm run clusters -- up|down|status|kubectl|...`: real Kubernetes clusters on this machine, by hand. The library behind
// it is fleet.ts; this file only reads arguments, prints, and sets the exit status.
import { spawn } from "node:child_process";
import process from "node:process";
import { Command, Option } from "commander";
import { UserError } from "../shared/errors.ts";
import { causeChain } from "../shared/log.ts";
import { downFleet, handOver, openFleet, upFleet, type Fleet } from "./fleet.ts";
import type { ClusterFaults, PodTarget } from "./faults/cluster-faults.ts";
import { kindDown, kindRuns, kindUp } from "./kind/kind-clusters.ts";
import { lineProgress } from "../shared/progress.ts";
import { knownRuns } from "./run/record.ts";
import { gatherStatus, statusText } from "./status.ts";

const DEFAULT_RUN = "dev";
const DEFAULT_CLUSTERS = "east,west,north";

const print = (line: string) => process.stdout.write(`${line}\n`);
const progress = lineProgress((line) => process.stderr.write(line));

/** Ctrl-C takes down what is being made; a second one is not needed, and must not interrupt the taking down. */
function interruption(): AbortSignal {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(name, () => stop.abort(new UserError("ISTHMUS_CLUSTERS_INTERRUPTED", `stopped by ${name}`)));
  return stop.signal;
}

const runOption = () =>
  new Option("--run <name>", "name of the run: several can be up side by side").default(DEFAULT_RUN);

interface UpOptions {
  readonly run: string;
  readonly clusters: string;
  readonly image: readonly string[];
  readonly yes: boolean;
  readonly kind: boolean;
}

async function up(options: UpOptions): Promise<void> {
  const clusters = options.clusters.split(",").map((name) => name.trim());
  const common = { runId: options.run, clusters, imageArchives: options.image, signal: interruption(), progress };
  const started = performance.now();
  if (options.kind) {
    const { kubeconfigPath } = await kindUp(common);
    announce(options.run, clusters, kubeconfigPath, started);
    return;
  }
  const fleet = await upFleet({ ...common, yes: options.yes });
  await handOver(options.run);
  announce(options.run, clusters, fleet.kubeconfigPath, started);
}

function announce(run: string, clusters: readonly string[], kubeconfig: string, started: number): void {
  const suffix = run === DEFAULT_RUN ? "" : ` --run ${run}`;
  print(`${clusters.join(", ")} up after ${((performance.now() - started) / 1000).toFixed(1)} s`);
  print(`kubeconfig: ${kubeconfig}`);
  print("next:");
  print(`  npm run clusters -- kubectl ${clusters[0] ?? ""}${suffix} -- get pods -A`);
  print(`  npm run clusters -- down${suffix}`);
}

async function down(options: { readonly run: string; readonly all: boolean }): Promise<void> {
  const kind = await kindRuns();
  const native = (await knownRuns()).map((run) => run.runId);
  const chosen = options.all ? [...new Set([...native, ...kind])] : [options.run];
  for (const runId of chosen) {
    await progress.step(`taking down ${runId}`, async () => {
      if (kind.includes(runId)) await kindDown(runId);
      await downFleet(runId);
    });
  }
}

async function status(options: { readonly output: string }): Promise<void> {
  const gathered = await gatherStatus();
  print(options.output === "json" ? JSON.stringify(gathered, null, 2) : statusText(gathered));
}

/** Runs kubectl with this terminal and hands its exit status on. */
async function kubectl(name: string, args: readonly string[], options: { readonly run: string }): Promise<void> {
  const fleet = await openFleet(options.run, progress);
  const cluster = fleet.cluster(name);
  const where = ["--kubeconfig", cluster.kubeconfigPath, "--context", cluster.context];
  process.exitCode = await new Promise<number>((resolve, reject) => {
    const child = spawn(fleet.kubectlProgram, [...where, ...args], { stdio: "inherit" });
    process.on("SIGINT", () => undefined); // the terminal has told kubectl as well
    child.on("error", (cause) => reject(new Error("cannot start kubectl", { cause })));
    child.on("close", (code) => resolve(code ?? 130));
  });
}

type ProcessVerb = "kill" | "start" | "stop" | "cont";

/** `NAMESPACE/POD` or `NAMESPACE/POD/CONTAINER`; undefined for the name of a program. */
function parsePod(text: string): PodTarget | undefined {
  const [namespace, pod, container, more] = text.split("/");
  if (namespace === undefined || pod === undefined) return undefined;
  if (namespace === "" || pod === "" || more !== undefined)
    throw new UserError("ISTHMUS_USAGE", `"${text}" is neither a program nor NAMESPACE/POD[/CONTAINER]`);
  return container === undefined ? { namespace, pod } : { namespace, pod, container };
}

async function processFault(fleet: Fleet, verb: ProcessVerb, clusterName: string, target: string): Promise<void> {
  const { faults } = fleet.cluster(clusterName);
  const pod = parsePod(target);
  if (pod === undefined) {
    await programFault(faults, verb, target);
    print(`${verb}: ${clusterName}/${target}`);
    return;
  }
  if (verb === "start") throw new UserError("ISTHMUS_USAGE", "the kubelet starts pods; start is for programs");
  const signal = ({ kill: "SIGKILL", stop: "SIGSTOP", cont: "SIGCONT" } as const)[verb];
  print(`${verb}: ${await faults.signalPod(pod, signal)} processes of ${target} in ${clusterName}`);
}

function programFault(faults: ClusterFaults, verb: ProcessVerb, program: string): Promise<void> {
  switch (verb) {
    case "kill":
      return faults.killProgram(program);
    case "start":
      return faults.startProgram(program);
    case "stop":
      return faults.stopProgram(program);
    case "cont":
      return faults.continueProgram(program);
  }
}

function addFaultCommands(program: Command): void {
  const places = "a cluster, hub, host, ADDRESS, ADDRESS/BITS or ADDRESS:PORT";
  for (const [verb, what] of [
    ["cut", "reset connections"],
    ["blackhole", "lose packets without an answer"],
  ] as const) {
    program
      .command(`${verb} <a> [b]`)
      .description(`${what} between two places (${places}); without the second, of the first with everything`)
      .addOption(runOption())
      .action(async (a: string, b: string | undefined, options: { run: string }) => {
        await (await openFleet(options.run, progress)).faults[verb](a, b);
        print(`${verb}: ${a} and ${b ?? "everything"}; undo with heal`);
      });
  }
  program
    .command("heal [a] [b]")
    .description("take back the fault between exactly these places; without places, every one")
    .addOption(runOption())
    .action(async (a: string | undefined, b: string | undefined, options: { run: string }) => {
      const { faults } = await openFleet(options.run, progress);
      await faults.heal(a, b);
      const left = (await faults.list()).map((fault) => `${fault.kind} ${fault.a} ${fault.b ?? ""}`.trim());
      print(left.length === 0 ? "no faults are left" : `left: ${left.join("; ")}`);
    });
  for (const [verb, what] of [
    ["kill", "SIGKILL to"],
    ["start", "start again, after kill,"],
    ["stop", "SIGSTOP to"],
    ["cont", "SIGCONT to"],
  ] as const) {
    program
      .command(`${verb} <cluster> <target>`)
      .description(`${what} a program (etcd, kube-apiserver, kubelet, ...) or NAMESPACE/POD[/CONTAINER] of a cluster`)
      .addOption(runOption())
      .action(async (cluster: string, target: string, options: { run: string }) => {
        await processFault(await openFleet(options.run, progress), verb, cluster, target);
      });
  }
}

function commands(): Command {
  const program = new Command("npm run clusters --")
    .description("Real Kubernetes clusters on this machine (Linux, root), without Docker.")
    .showHelpAfterError()
    .exitOverride();
  const collect = (value: string, before: readonly string[]) => [...before, value];
  program
    .command("up")
    .description("bring clusters up; warm, three take half a minute")
    .addOption(runOption())
    .option("--clusters <names>", "names, separated by commas", DEFAULT_CLUSTERS)
    .option(
      "--image <archive>",
      "OCI archive for every cluster; may be repeated (npm run images prints ours)",
      collect,
      [],
    )
    .option("--yes", "install missing system packages without asking", false)
    .option("--kind", "use kind and Docker instead (nobody has run this yet; no isolation and no faults)", false)
    .action(up);
  program
    .command("down")
    .description("take a run down completely, and whatever killed runs have left")
    .addOption(runOption())
    .option("--all", "every run", false)
    .action(down);
  program
    .command("status")
    .description("what would be used or built (source and version of each), what is missing, which runs are up")
    .addOption(new Option("-o, --output <format>", "text or json").choices(["text", "json"]).default("text"))
    .action(status);
  program
    .command("kubectl <cluster> [args...]")
    .description("kubectl in a cluster: kubectl east -- get pods -A")
    .addOption(runOption())
    .action(kubectl);
  addFaultCommands(program);
  return program;
}

function explain(error: unknown): void {
  const user = error instanceof UserError ? error : undefined;
  process.stderr.write(`${user?.code ?? "ISTHMUS_CLUSTERS"}: ${causes(error)}\n`);
  if (user?.hint !== undefined) process.stderr.write(`next: ${user.hint}\n`);
}

function causes(error: unknown): string {
  return causeChain(error)
    .map((text) => text.replace(/^\w*Error: /, ""))
    .join("; caused by ");
}

try {
  await commands().parseAsync(process.argv);
} catch (error) {
  // commander has printed its own complaint or the help already
  const fromCommander = error instanceof Error && "exitCode" in error && typeof error.exitCode === "number";
  if (!fromCommander) explain(error);
  process.exitCode = fromCommander ? (error.exitCode as number) : 1;
}
// an aborted step may leave sockets of a half-made cluster open; everything that matters is done
process.exit();
