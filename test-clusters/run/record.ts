// The record of a run: written before anything is made, so that a crash at any later moment can be cleaned up.
import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cacheRoot } from "../../shared/programs/cache.ts";
import { bootId, isAlive, type ProcessId } from "../machine/proc.ts";
import { RUNTIME_ROOT, runPaths } from "./paths.ts";

export interface RunRecord {
  readonly runId: string;
  readonly home: string;
  readonly subnet: string;
  readonly clusters: readonly string[];
  readonly bootId: string;
  readonly startedAtMs: number;
  /** The process that will bring the run down; none once `clusters up` has handed it to the user. */
  readonly owner: ProcessId | null;
}

export async function writeJson(file: string, value: unknown): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const temporary = `${file}.tmp-${process.pid}`;
  await writeFile(temporary, JSON.stringify(value, null, 2), { mode: 0o600 });
  await rename(temporary, file);
}

export async function readRecord(runId: string): Promise<RunRecord | undefined> {
  const text = await readFile(runPaths(runId).record, "utf8").catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as RunRecord);
}

/** Nobody will bring the run down: its owner has ended, or the machine was booted since. Pure but for the two probes. */
export function isAbandoned(
  record: Pick<RunRecord, "bootId" | "owner">,
  boot: string,
  alive: (id: ProcessId) => boolean,
): boolean {
  if (record.bootId !== boot) return true;
  return record.owner !== null && !alive(record.owner);
}

export interface KnownRun {
  readonly runId: string;
  /** Missing when the crash came before the record, or after a boot: only files are left. */
  readonly record: RunRecord | undefined;
  readonly abandoned: boolean;
}

async function names(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

/** Every run of which anything is left. */
export async function knownRuns(): Promise<readonly KnownRun[]> {
  const found = new Set([...(await names(RUNTIME_ROOT)), ...(await names(join(cacheRoot(), "runs")))]);
  const boot = bootId();
  return Promise.all(
    [...found].sort().map(async (runId) => {
      const record = await readRecord(runId);
      return { runId, record, abandoned: record === undefined || isAbandoned(record, boot, isAlive) };
    }),
  );
}
