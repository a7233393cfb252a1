// Bench `demo-sites`: the whole `npm run demo -- --once` as a newcomer runs it: how long it takes, and the most memory that
// all its processes together hold at any moment, applications included, as PSS (shared pages are counted once).
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { runMark } from "../sites/process-table.ts";
import type { DemoReport } from "../demo/steps.ts";
import { atMost, type Bench, type BenchContext, type BenchResult } from "./bench.ts";
import { pssKb } from "./machine.ts";
import { rounded } from "./quantile.ts";

const BAR_S = 30;
const BAR_MB = 900;
const SAMPLE_MS = 500;
const root = fileURLToPath(new URL("../..", import.meta.url));

export const demoSites: Bench = {
  name: "demo-sites",
  about: "npm run demo -- --once, on sites: seconds, and the most memory of all its processes at a time",
  bar: `at most ${BAR_S} s warm, ${BAR_MB} MB`,
  minutes: 2,
  needsRoot: false,
  run: measure,
};

interface Sample {
  readonly totalMb: number;
  readonly byProgram: Readonly<Record<string, number>>;
  readonly processes: number;
}

async function measure({ progress, signal }: BenchContext): Promise<BenchResult> {
  const folder = mkdtempSync(join(tmpdir(), "isthmus-bench-"));
  try {
    const samples: Sample[] = [];
    const timer = setInterval(() => samples.push(sampleOf(folder)), SAMPLE_MS);
    const started = performance.now();
    const reportFile = join(folder, "report.json");
    await progress
      .step("npm run demo -- --once", () => runDemo(folder, reportFile, signal))
      .finally(() => clearInterval(timer));
    const seconds = rounded((performance.now() - started) / 1000);
    const { ok, steps } = JSON.parse(readFileSync(reportFile, "utf8")) as DemoReport;
    const most = samples.reduce((a, b) => (b.totalMb > a.totalMb ? b : a));
    return {
      figures: {
        seconds,
        steps_s: Object.fromEntries(steps.map(({ name, ms }) => [name, rounded(ms / 1000)])),
        memory_mb: most.totalMb,
        memory_by_program_mb: most.byProgram,
        processes: most.processes,
      },
      bars: [
        atMost("the demo", seconds, BAR_S, "s"),
        atMost("its memory", most.totalMb, BAR_MB, "MB"),
        atMost("its steps that failed:", ok ? 0 : steps.filter((step) => !step.ok).length, 0, `of ${steps.length}`),
      ],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function runDemo(folder: string, reportFile: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const demo = spawn("npm", ["run", "--silent", "demo", "--", "--once", "--json", reportFile], {
      cwd: root,
      stdio: ["ignore", "ignore", "inherit"],
      // its run's folder is below this one: that is how its processes are known
      env: { ...process.env, TMPDIR: folder },
      signal,
      killSignal: "SIGINT",
    });
    demo.on("error", reject);
    demo.on("close", () => resolve());
  });
}

function sampleOf(folder: string): Sample {
  const byProgram: Record<string, number> = {};
  let [totalMb, processes] = [0, 0];
  for (const entry of readdirSync("/proc")) {
    const name = programIn(Number(entry), folder);
    if (name === undefined) continue;
    const mb = pssOf(Number(entry)) / 1024;
    byProgram[name] = rounded((byProgram[name] ?? 0) + mb);
    totalMb += mb;
    processes += 1;
  }
  return { totalMb: rounded(totalMb), byProgram, processes };
}

/** Undefined: not of this demo. Everything that it starts is of its run; the demo itself has the folder. */
function programIn(pid: number, folder: string): string | undefined {
  if (!Number.isInteger(pid)) return undefined;
  const environment = read(pid, "environ");
  const commandLine = read(pid, "cmdline");
  if (isOfRun(environment, commandLine, folder)) return programOf(commandLine.split("\0"));
  return environment.includes(`TMPDIR=${folder}\0`) ? "demo" : undefined;
}

/** By its mark. Redis writes a title over its environment; in it is the socket, which lies in the run's folder. */
function isOfRun(environment: string, commandLine: string, folder: string): boolean {
  if (environment.includes(`${runMark}=${folder}/`)) return true;
  return commandLine.startsWith("redis-server ") && commandLine.includes(`${folder}/`);
}

function programOf(words: readonly string[]): string {
  const program = words[0]?.split(" ")[0]?.split("/").at(-1) ?? "";
  if (program !== "node") return program;
  const entry = words.findIndex((word) => word.endsWith("/cli/isthmus.js"));
  return entry < 0 ? "applications" : `isthmus ${words[entry + 1] ?? ""}`;
}

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return ""; // it has ended meanwhile
  }
}

function pssOf(pid: number): number {
  try {
    return pssKb(pid);
  } catch {
    return 0;
  }
}
