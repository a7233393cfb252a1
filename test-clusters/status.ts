// What `clusters status` tells: what the machine offers, where each program comes from, and which runs are up.
import { readFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { cacheRoot } from "../shared/programs/cache.ts";
import { ENVOY } from "../shared/programs/envoy-wheel.ts";
import { envoyPath } from "../shared/programs/envoy.ts";
import { goProgramPaths } from "./binaries/go-programs.ts";
import { describeGo } from "./binaries/go.ts";
import { presentKube } from "./binaries/kube.ts";
import { COREDNS, HELM, KUBERNETES } from "./binaries/versions.ts";
import { kindRuns } from "./kind/kind-clusters.ts";
import { cgroupLayout } from "./machine/cgroups.ts";
import { findProgram, runCommand } from "./machine/command.ts";
import { missingPackages } from "./machine/packages.ts";
import { isAlive } from "./machine/proc.ts";
import { machineObjections, requireContainerd } from "./machine/requirements.ts";
import { runPaths } from "./run/paths.ts";
import { listProcesses } from "./run/processes.ts";
import { knownRuns, type KnownRun } from "./run/record.ts";

interface ProgramStatus {
  readonly name: string;
  readonly version: string;
  /** Where it comes from, or would come from. */
  readonly source: string;
}

interface RunStatus {
  readonly name: string;
  readonly state: "up" | "being used by another command" | "abandoned";
  readonly clusters: readonly string[];
  readonly subnet: string;
  readonly kubeconfig: string;
  readonly memoryMb: number;
  /** Programs that were started and do not run. */
  readonly dead: readonly string[];
}

export interface Status {
  readonly machine: readonly string[];
  readonly objections: readonly string[];
  readonly missingPackages: readonly string[];
  readonly cache: string;
  readonly programs: readonly ProgramStatus[];
  readonly runs: readonly RunStatus[];
  readonly kindRuns: readonly string[];
}

async function programStatuses(): Promise<readonly ProgramStatus[]> {
  const containerd = await requireContainerd().catch(() => undefined);
  const kube = await presentKube({
    cgroupVersion: cgroupLayout()?.version ?? 1,
    containerdMajor: containerd?.version.major ?? 1,
  });
  const made = (path: string, how: string) => (existsSync(path) ? `cache (${how})` : `not yet there: will be ${how}`);
  return [
    "programs" in kube
      ? { name: "kubernetes", version: kube.version, source: kube.source }
      : {
          name: "kubernetes",
          version: KUBERNETES,
          source: `not yet there: official release, else built from Go modules (${kube.objection})`,
        },
    { name: "coredns", version: COREDNS, source: made(goProgramPaths.coredns(), "built from Go modules") },
    { name: "helm", version: HELM, source: made(goProgramPaths.helm(), "built from Go modules") },
    { name: "envoy", version: ENVOY, source: made(envoyPath(), "taken from its PyPI wheel") },
    await describeGo(),
    ...(await Promise.all(["containerd", "runc", "nft"].map(systemProgram))),
  ];
}

async function systemProgram(name: string): Promise<ProgramStatus> {
  const path = await findProgram(name);
  if (path === undefined) return { name, version: "none", source: "system package, missing" };
  const text = await runCommand(path, ["--version"]).catch(() => "");
  return { name, version: /\d+\.\d+[\w.~+-]*/.exec(text)?.[0] ?? "unknown", source: path };
}

/** Resident memory shared out fairly among its users (PSS), of a process, in kB. */
async function pssKb(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "");
  return Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0);
}

async function runStatus(run: KnownRun): Promise<RunStatus> {
  const paths = runPaths(run.runId, run.record?.home);
  const processes = await listProcesses(paths);
  const memory = await Promise.all(processes.map((each) => pssKb(each.pid)));
  const handedOver = run.record?.owner === null;
  return {
    name: run.runId,
    state: run.abandoned ? "abandoned" : handedOver ? "up" : "being used by another command",
    clusters: run.record?.clusters ?? [],
    subnet: run.record?.subnet ?? "",
    kubeconfig: paths.kubeconfig,
    memoryMb: Math.round(memory.reduce((sum, kb) => sum + kb, 0) / 1024),
    dead: processes.filter((each) => !isAlive(each)).map((each) => each.spec.name),
  };
}

export async function gatherStatus(): Promise<Status> {
  const objections = await machineObjections();
  const layout = process.platform === "linux" ? cgroupLayout() : undefined;
  return {
    machine: [`${process.platform} ${process.arch}`, `cgroup v${String(layout?.version ?? "?")}`],
    objections,
    missingPackages: await missingPackages(["clusters", "images", "hub"]),
    cache: join(cacheRoot()),
    programs: await programStatuses(),
    runs: await Promise.all((await knownRuns()).map(runStatus)),
    kindRuns: await kindRuns(),
  };
}

/** The status for people. Pure. */
export function statusText(status: Status): string {
  const width = Math.max(...status.programs.map((program) => program.name.length));
  const versionWidth = Math.max(...status.programs.map((program) => program.version.length));
  const lines = [
    `machine: ${status.machine.join(", ")}`,
    ...status.objections.map((objection) => `  cannot host clusters: ${objection}`),
    status.missingPackages.length === 0
      ? "system packages: all there"
      : `system packages missing (up asks, or --yes): ${status.missingPackages.join(", ")}`,
    `programs (cache: ${status.cache}):`,
    ...status.programs.map(
      ({ name, version, source }) => `  ${name.padEnd(width)}  ${version.padEnd(versionWidth)}  ${source}`,
    ),
    status.runs.length + status.kindRuns.length === 0 ? "runs: none" : "runs:",
    ...status.runs.flatMap(runLines),
    ...status.kindRuns.map((name) => `  ${name} (kind)`),
  ];
  return lines.join("\n");
}

function runLines(run: RunStatus): readonly string[] {
  return [
    `  ${run.name}: ${run.state}, ${run.clusters.join(", ")} in ${run.subnet}, control planes use ${run.memoryMb} MB`,
    `    kubeconfig: ${run.kubeconfig}`,
    ...(run.dead.length === 0 ? [] : [`    not running: ${run.dead.join(", ")}`]),
    ...(run.state === "abandoned" ? ["    npm run clusters -- down takes away what it has left"] : []),
  ];
}
