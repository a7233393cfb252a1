// A run of sites: one folder below the system's folder for temporary files with everything in it, and processes that carry
// its path. Whoever dies without cleaning up is swept by the next run.
import { mkdtempSync, readdirSync, readFileSync, statSync } from "node:fs";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { UserError } from "../../shared/errors.ts";
import { bootId, isAlive, processIdOf, type ProcessId } from "../machine/proc.ts";
import { pause } from "../run/processes.ts";
import { isAbandoned, writeJson } from "../run/record.ts";
import { planSites, SLOTS, socketsOf, type RunPlaces } from "./places.ts";
import { processesOfRun, signalAll } from "./process-table.ts";

const PREFIX = "isthmus-sites-";
const RECORD = "run.json";
const KILL_MS = 10_000;
/** A folder without a record is one whose owner is about to write it. */
const UNRECORDED_MS = 60_000;

export interface SiteRunRecord {
  readonly slot: number;
  readonly names: readonly string[];
  readonly bootId: string;
  readonly startedAtMs: number;
  /** The process that will take the run down. */
  readonly owner: ProcessId;
}

export interface SiteRun {
  readonly folder: string;
  readonly places: RunPlaces;
  /** False once it is being taken down: what starts after the sweep would stay. */
  isOpen(): boolean;
  /** Kills what is left and removes the folder. */
  down(): Promise<void>;
}

/** Takes a free slot and a folder; sweeps what killed runs of this user have left first. */
export async function openRun(names: readonly string[], say: (line: string) => void): Promise<SiteRun> {
  for (const swept of await sweepAbandoned()) say(`removed what an abandoned run had left in ${swept}`);
  const { slot, guard } = await takeSlot(names);
  const folder = mkdtempSync(join(tmpdir(), PREFIX));
  const owner = processIdOf(process.pid) ?? { pid: process.pid, startTicks: 0 };
  const record: SiteRunRecord = { slot, names, bootId: bootId(), startedAtMs: Date.now(), owner };
  await writeJson(join(folder, RECORD), record);
  await Promise.all(["logs", "processes"].map((name) => mkdir(join(folder, name))));
  let open = true;
  return {
    folder,
    places: planSites(slot, names),
    isOpen: () => open,
    down: async () => {
      open = false;
      await sweep(folder);
      guard.close();
    },
  };
}

/** The run that another process has opened. */
export async function joinRun(folder: string): Promise<SiteRun> {
  const { slot, names } = JSON.parse(await readFile(join(folder, RECORD), "utf8")) as SiteRunRecord;
  return { folder, places: planSites(slot, names), isOpen: () => true, down: () => Promise.resolve() };
}

async function takeSlot(names: readonly string[]): Promise<{ readonly slot: number; readonly guard: Server }> {
  for (let slot = 0; slot < SLOTS; slot += 1) {
    const places = planSites(slot, names);
    const guard = await listening(places.guard);
    if (guard === undefined) continue;
    const probes = await Promise.all(socketsOf(places).map(listening));
    for (const probe of probes) probe?.close();
    if (!probes.includes(undefined)) return { slot, guard };
    guard.close();
  }
  throw new UserError("ISTHMUS_DEMO_UNSUPPORTED", `all ${SLOTS} places for a run of sites on this machine are taken`, {
    hint: "end another demo; or this machine has no loopback addresses beside 127.0.0.1",
  });
}

/** Undefined: somebody has it, or the machine has no such address. */
function listening({
  address,
  port,
}: {
  readonly address: string;
  readonly port: number;
}): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen({ host: address, port, exclusive: true }, () => resolve(server.unref()));
  });
}

/** Kills every process of the run and removes its folder. Safe to repeat. */
async function sweep(folder: string): Promise<void> {
  const deadline = performance.now() + KILL_MS;
  for (;;) {
    const left = processesOfRun(folder).filter(({ pid }) => pid !== process.pid);
    if (left.length === 0) break;
    if (performance.now() > deadline) throw new Error(`processes ${left.map(({ pid }) => pid).join(", ")} do not end`);
    signalAll(left, "SIGKILL");
    await pause(20);
  }
  await rm(folder, { recursive: true, force: true });
}

/** Folders of runs that nobody will take down, of this user. */
async function sweepAbandoned(): Promise<readonly string[]> {
  const boot = bootId();
  const folders = (await readdir(tmpdir()))
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => join(tmpdir(), name));
  const abandoned = folders.filter((folder) => isLeftBehind(folder, boot));
  for (const folder of abandoned) await sweep(folder);
  return abandoned;
}

function isLeftBehind(folder: string, boot: string): boolean {
  try {
    const { uid, mtimeMs } = statSync(folder);
    if (uid !== process.getuid?.()) return false;
    if (!readdirSync(folder).includes(RECORD)) return Date.now() - mtimeMs > UNRECORDED_MS;
    return isAbandoned(JSON.parse(readFileSync(join(folder, RECORD), "utf8")) as SiteRunRecord, boot, isAlive);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false; // its owner removes it just now
    throw error;
  }
}
