// Processes of a run of sites, found by a mark in their environment, which a program hands on to whatever it starts: so a
// process is found wherever it has gone, and one of somebody else never is. Reads /proc.
import { readdirSync, readFileSync } from "node:fs";
import { processIdOf, signalProcess, type ProcessId } from "../machine/proc.ts";

/** Environment variable that holds the run's folder. */
export const runMark = "ISTHMUS_TEST_SITES";

export interface ProcessEntry extends ProcessId {
  readonly parent: number;
  readonly argv: readonly string[];
  /** `NAME=VALUE` */
  readonly environment: readonly string[];
}

/** Empty when the process has ended meanwhile, or is another user's. */
function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}

function parentOf(pid: number): number {
  const stat = read(pid, "stat");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1] ?? 0);
}

export function processesOfRun(folder: string): readonly ProcessEntry[] {
  const wanted = `${runMark}=${folder}`;
  return readdirSync("/proc").flatMap((entry) => {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) return [];
    const environment = read(pid, "environ").split("\0");
    const id = environment.includes(wanted) ? processIdOf(pid) : undefined;
    if (id === undefined) return [];
    return [{ ...id, parent: parentOf(pid), argv: read(pid, "cmdline").split("\0"), environment }];
  });
}

/** The process and everything below it. */
export function familyOf(processes: readonly ProcessEntry[], pid: number): readonly ProcessEntry[] {
  const children = processes.filter(({ parent }) => parent === pid);
  return [
    ...processes.filter((each) => each.pid === pid),
    ...children.flatMap((child) => familyOf(processes, child.pid)),
  ];
}

/** The program's name; Redis writes its whole title into the first argument. */
export function programOf({ argv }: ProcessEntry): string {
  return argv[0]?.split(" ")[0]?.split("/").at(-1) ?? "";
}

export function signalAll(processes: readonly ProcessId[], signal: NodeJS.Signals): void {
  for (const each of processes) signalProcess(each, signal);
}
