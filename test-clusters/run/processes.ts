// Long-lived processes of a run. Each is born in the run's cgroup (the shell below joins it before it becomes the
// program), has a log file and a small record with its command, so that a test can kill it and start it again.
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { readdir, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isAlive, processIdOf, signalProcess, type ProcessId } from "../machine/proc.ts";
import type { RunPaths } from "./paths.ts";
import { writeJson } from "./record.ts";

export interface ProcessSpec {
  /** Unique in the run: `east/kube-apiserver`, `lb-controller`. */
  readonly name: string;
  /** The cgroup.procs file it is born into. */
  readonly procsFile: string;
  readonly argv: readonly string[];
  readonly logFile: string;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface ProcessRecord extends ProcessId {
  readonly spec: ProcessSpec;
}

/** Joins the cgroup, then becomes the program: there is no moment at which it runs outside. */
const BIRTH = 'echo 0 > "$0" && exec "$@"';

export function birthCommand(procsFile: string, argv: readonly string[]): readonly [string, readonly string[]] {
  return ["/bin/sh", ["-c", BIRTH, procsFile, ...argv]];
}

function recordFile(paths: RunPaths, name: string): string {
  return join(paths.processes, `${name.replaceAll("/", "--")}.json`);
}

export async function startProcess(paths: RunPaths, spec: ProcessSpec): Promise<ProcessRecord> {
  mkdirSync(dirname(spec.logFile), { recursive: true });
  const log = openSync(spec.logFile, "a");
  const [command, args] = birthCommand(spec.procsFile, spec.argv);
  const child: ChildProcess = spawn(command, args, {
    cwd: spec.cwd ?? "/",
    env: { PATH: process.env["PATH"], HOME: "/root", ...spec.env },
    stdio: ["ignore", log, log],
    detached: true, // its own session: Ctrl-C at the terminal is for the tool, which then takes everything down in order
  });
  closeSync(log);
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) => reject(new Error(`cannot start ${spec.name}`, { cause })));
  });
  child.unref();
  const id = child.pid === undefined ? undefined : processIdOf(child.pid);
  if (id === undefined) throw new Error(`${spec.name} ended at once: ${await logTail(spec.logFile)}`);
  const record = { ...id, spec };
  await writeJson(recordFile(paths, spec.name), record);
  return record;
}

export async function readProcess(paths: RunPaths, name: string): Promise<ProcessRecord | undefined> {
  const text = await readFile(recordFile(paths, name), "utf8").catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as ProcessRecord);
}

export async function listProcesses(paths: RunPaths): Promise<readonly ProcessRecord[]> {
  const files = await readdir(paths.processes).catch(() => []);
  const texts = await Promise.all(
    files.filter((file) => file.endsWith(".json")).map((file) => readFile(join(paths.processes, file), "utf8")),
  );
  return texts.map((text) => JSON.parse(text) as ProcessRecord);
}

export async function forgetProcess(paths: RunPaths, name: string): Promise<void> {
  await rm(recordFile(paths, name), { force: true });
}

/** Resolves when the process has ended; SIGKILL after `graceMs`. */
export async function endProcess(id: ProcessId, signal: NodeJS.Signals, graceMs: number): Promise<void> {
  if (!signalProcess(id, signal)) return;
  const deadline = performance.now() + graceMs;
  while (isAlive(id)) {
    if (performance.now() > deadline) signalProcess(id, "SIGKILL");
    await pause(10);
  }
}

/** The end of a program's log for an error message: it usually names the cause. */
export async function logTail(file: string, lines = 3): Promise<string> {
  const text = await readFile(file, "utf8").catch(() => "");
  return text.trim().split("\n").slice(-lines).join(" | ").slice(-600) || "its log is empty";
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
