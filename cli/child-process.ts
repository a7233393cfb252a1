// Children that must not outlive this program, and how a process's end is told to whoever started it.
import { spawn, type ChildProcess, type StdioOptions } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";

export interface ChildEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Child {
  readonly process: ChildProcess;
  readonly ended: Promise<ChildEnd>;
}

export interface ChildOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly stdio: StdioOptions;
}

/**
 * In a process group of its own: Ctrl-C at a terminal must not end it before this program has drained. Where util-linux is
 * there, the kernel ends it even when this program is killed.
 */
export function startChild(command: readonly string[], options: ChildOptions): Child {
  const setpriv = "/usr/bin/setpriv";
  const guarded = existsSync(setpriv) ? [setpriv, "--pdeathsig", "TERM", ...command] : command;
  const [program = "", ...args] = guarded;
  const child = spawn(program, args, { ...options, detached: true });
  const ended = new Promise<ChildEnd>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
    child.once("error", () => resolve({ code: 127, signal: null }));
  });
  return { process: child, ended };
}

export function hasEnded({ process }: Child): boolean {
  return process.exitCode !== null || process.signalCode !== null || process.pid === undefined;
}

/** The whole group: `npm start` leaves its server behind when only npm is told. */
export function signalGroup(child: Child, signal: NodeJS.Signals): void {
  const { pid } = child.process;
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // it is gone already
  }
}

/** As a shell says it: a signal is 128 and its number. */
export function exitStatus({ code, signal }: ChildEnd): number {
  return signal === null ? (code ?? 1) : 128 + constants.signals[signal];
}

export function describeEnd({ code, signal }: ChildEnd): string {
  return signal === null ? `ended with status ${String(code)}` : `was ended by ${signal}`;
}

/** SIGTERM, then SIGKILL when `graceMs` are over; resolves when it is gone. */
export async function endChild(child: Child, graceMs: number): Promise<ChildEnd> {
  if (!hasEnded(child)) signalGroup(child, "SIGTERM");
  const overdue = setTimeout(() => signalGroup(child, "SIGKILL"), graceMs);
  const end = await child.ended;
  clearTimeout(overdue);
  return end;
}

/** Whether a process of this machine lives; one of another user counts. */
export function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
