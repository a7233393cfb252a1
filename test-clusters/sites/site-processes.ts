// Long-lived processes of a run of sites. Each is a session of its own, so Ctrl-C at the terminal is for the owner, which
// takes everything down in order; each has a log and a record, so that another process can kill it and start it again.
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { isAlive, processIdOf, type ProcessId } from "../machine/proc.ts";
import { inNetns } from "../network/fabric.ts";
import { logTail, pause } from "../run/processes.ts";
import { writeJson } from "../run/record.ts";
import { isthmusProgram } from "../stage/product.ts";
import { familyOf, processesOfRun, runMark, signalAll, type ProcessEntry } from "./process-table.ts";
import type { SiteRun } from "./site-run.ts";

const KILL_MS = 5_000;
/** Small programs: a heap that grows in small steps, and garbage that is looked for early. */
export const smallHeap = ["--max-semi-space-size=1", "--max-old-space-size=96"];

export interface SiteProcesses {
  /** `isthmus ARGS`, running until it is killed. */
  isthmus(name: string, args: readonly string[], env?: Readonly<Record<string, string>>): Promise<void>;
  /** The process that was started last under this name, with all below it; empty when it has ended. */
  family(name: string): Promise<readonly ProcessEntry[]>;
  /** SIGKILL to all of them at once; resolves when they are gone. */
  kill(name: string): Promise<void>;
  /** SIGKILL to the process alone: what it has started finds out by itself. */
  killAlone(name: string): Promise<void>;
  isRunning(name: string): Promise<boolean>;
  logFile(name: string): string;
  /** Why it ended, for a message. */
  lastWords(name: string): Promise<string>;
  readonly env: NodeJS.ProcessEnv;
  /** A command line that runs where the processes run. */
  inPlace(argv: readonly string[]): readonly string[];
}

export interface ProcessSettings {
  readonly env: Readonly<Record<string, string>>;
  /** A network namespace to run in, as a file; undefined: this machine's own. */
  readonly netns?: string;
}

export function siteProcesses(run: SiteRun, { env, netns }: ProcessSettings): SiteProcesses {
  const inPlace = (argv: readonly string[]) => (netns === undefined ? argv : inNetns(netns, argv));
  const logFile = (name: string) => join(run.folder, "logs", `${name}.log`);
  const recordFile = (name: string) => join(run.folder, "processes", `${name}.json`);
  const environment = { ...basicEnv(), ...env, [runMark]: run.folder };
  const recorded = async (name: string): Promise<ProcessId | undefined> => {
    const text = await readFile(recordFile(name), "utf8").catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as ProcessId);
  };
  const family = async (name: string) => {
    const id = await recorded(name);
    return id === undefined || !isAlive(id) ? [] : familyOf(processesOfRun(run.folder), id.pid);
  };
  const lastWords = (name: string) => logTail(logFile(name), 6);
  return {
    env: environment,
    inPlace,
    logFile,
    family,
    lastWords,
    isthmus: async (name, args, more = {}) => {
      if (!run.isOpen()) throw new Error(`${name} is not started: the run is being taken down`);
      const log = openSync(logFile(name), "a");
      const node = [process.execPath, "--disable-warning=ExperimentalWarning", ...smallHeap];
      const [command = "", ...argv] = inPlace([...node, isthmusProgram, ...args]);
      const child = spawn(command, argv, {
        env: { ...environment, ...more },
        stdio: ["ignore", log, log],
        detached: true,
      });
      closeSync(log);
      await new Promise<void>((resolve, reject) => {
        child.once("spawn", resolve);
        child.once("error", (cause) => reject(new Error(`cannot start ${name}`, { cause })));
      });
      child.unref();
      const id = child.pid === undefined ? undefined : processIdOf(child.pid);
      if (id === undefined) throw new Error(`${name} ended at once: ${await lastWords(name)}`);
      await writeJson(recordFile(name), id);
    },
    kill: async (name) => killed(name, await family(name)),
    killAlone: async (name) => {
      const id = await recorded(name);
      await killed(name, id === undefined ? [] : [id]);
    },
    isRunning: async (name) => {
      const id = await recorded(name);
      return id !== undefined && isAlive(id);
    },
  };
}

async function killed(name: string, processes: readonly ProcessId[]): Promise<void> {
  signalAll(processes, "SIGKILL");
  const deadline = performance.now() + KILL_MS;
  while (processes.some(isAlive)) {
    if (performance.now() > deadline) throw new Error(`${name} does not end`);
    await pause(5);
  }
}

/** Nothing of the caller's own environment but what programs need: proxies and settings would be in the way. */
function basicEnv(): NodeJS.ProcessEnv {
  const kept = ["PATH", "HOME", "USER", "LANG", "TMPDIR", "XDG_CACHE_HOME", "PIP_INDEX_URL", "SSL_CERT_FILE"];
  return Object.fromEntries(
    kept.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
}
