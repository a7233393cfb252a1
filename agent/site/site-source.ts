// What a site knows, kept up to date: folders read, numbers given, workloads watched, put together as the inputs of the mesh.
// One loop does everything in order, woken by whatever may have changed; it holds no rule of its own.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../shared/clock.ts";
import { dataFolderGone, dataGoneCode } from "../../shared/data-folder.ts";
import { UserError } from "../../shared/errors.ts";
import { runTasks } from "../../shared/lifecycle.ts";
import { causeChain, type Log } from "../../shared/log.ts";
import { sleepOrWake } from "../../shared/pause.ts";
import type { GatewayAddress } from "../../shared/registry.ts";
import type { Problem } from "../../shared/result.ts";
import type { ServiceInput } from "../ir/inputs.ts";
import { share } from "../ir/sharing.ts";
import type { PlatformInputs } from "../platform.ts";
import { allocate, withoutPort, type Allocations } from "./allocations.ts";
import { foreignServices } from "./derived-services.ts";
import { createKeeper, type Keeper } from "./keeper.ts";
import { createHealthChecks, type HealthChecks } from "./health-checks.ts";
import type { LoopbackRange } from "./loopback-range.ts";
import { freeProxyPorts, isRoot, lowestUnprivilegedPort } from "./machine.ts";
import { openManifestFolder, type ManifestFolder } from "./manifest-folder.ts";
import { removeDead } from "./registrations.ts";
import { allocationFile, exportTimesFile, goodManifestsFile, importsFile, isForAPerson } from "./site-files.ts";
import { objectKey, siteInputs, siteServices, type Machine } from "./site-inputs.ts";
import { collectObjects, noObjects, type SiteObjects } from "./site-objects.ts";

export interface SiteSourceOptions {
  readonly dataDir: string;
  readonly manifestsDir: string;
  readonly range: LoopbackRange | undefined;
  readonly gatewayBind: GatewayAddress;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

export interface SiteSource {
  /** Undefined until everything was read once and every workload with a health check was asked once. */
  inputs(): PlatformInputs | undefined;
  objects(): SiteObjects;
  /** Every file is as good as what is in force: nothing is missing that is only misspelt. */
  isWhole(): boolean;
  /** Every folder was read once. */
  readonly whenRead: Promise<unknown>;
  problems(): readonly Problem[];
  onChange(listener: () => void): () => void;
  /** Services that stand for imports, as they are. */
  derived(): readonly ServiceInput[];
  /** And as they should be from now on. */
  setDerived(derived: readonly ServiceInput[]): void;
  readonly health: HealthChecks;
  /** Runs until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

/** Also how long a registration may outlive its process. */
const LEVEL_CHECK_MS = 1_000;

/** Of manifests. Longer than `rm -r` or a checkout needs for thousands of files; a grant that is taken back is gone within the second. */
const WITHDRAW_AFTER_MS = 300;

/** For a restart only: nobody waits for it. */
const GOOD_TEXTS_SPACING_MS = 1_000;
const GOOD_TEXTS_REFRESH_MS = 10 * 60_000;

interface Levels {
  goodTexts: Readonly<Record<string, string>>;
  objects: SiteObjects;
  /** Of the last run until the hub's word is known: a restart must not take an address from under an application. */
  derived: readonly ServiceInput[];
  wantedDerived: readonly ServiceInput[];
  allocations: Allocations;
  exportedAtMs: Readonly<Record<string, number>>;
  inputs: PlatformInputs | undefined;
  toldWorkloads: SiteObjects["records"]["Workload"] | undefined;
  problems: readonly Problem[];
}

interface Parts {
  readonly options: SiteSourceOptions;
  readonly levels: Levels;
  readonly folders: readonly ManifestFolder[];
  readonly registeredDir: string;
  readonly health: HealthChecks;
  readonly goodTexts: Keeper<Readonly<Record<string, string>>>;
  readonly machine: Machine;
  readonly changed: () => void;
}

export async function openSiteSource(options: SiteSourceOptions): Promise<SiteSource> {
  const listeners = new Set<() => void>();
  let wake = Promise.withResolvers<undefined>();
  const nudge = () => {
    wake.resolve(undefined);
    wake = Promise.withResolvers<undefined>();
  };
  const changed = () => {
    for (const listener of listeners) listener();
  };
  const parts = await openParts(options, nudge, changed);
  const { levels, health } = parts;
  const read = Promise.withResolvers<undefined>();
  const loop = async (signal: AbortSignal) => {
    while (!signal.aborted) {
      const woken = wake.promise; // taken before the look: what happens during it is not missed
      await settle(parts);
      read.resolve(undefined);
      await sleepOrWake(options.clock, LEVEL_CHECK_MS, woken, signal);
    }
    for (const each of parts.folders) each.close();
  };
  return {
    inputs: () => levels.inputs,
    objects: () => levels.objects,
    isWhole: () =>
      parts.folders.every((each) => each.problems().length === 0 && each.files().every(({ good }) => good)),
    whenRead: read.promise,
    problems: () => levels.problems,
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    derived: () => levels.wantedDerived,
    setDerived: (derived) => {
      if (derived === levels.wantedDerived) return;
      levels.wantedDerived = derived;
      nudge();
    },
    health,
    run: async (signal) => {
      await runTasks(signal, [
        { name: "health checks", run: (inner) => health.run(inner) },
        { name: "folders", run: loop },
        parts.goodTexts.task,
      ]);
    },
  };
}

async function openParts(options: SiteSourceOptions, nudge: () => void, changed: () => void): Promise<Parts> {
  const { dataDir, manifestsDir, range, gatewayBind, clock, log } = options;
  const registeredDir = join(dataDir, "registered");
  await mkdir(registeredDir, { recursive: true, mode: 0o700 });
  const folder = (path: string, prefix: string, withdrawAfterMs: number) =>
    openManifestFolder({ path, prefix, withdrawAfterMs, onEvent: nudge, goodTexts, clock, log });
  const unprivileged = await lowestUnprivilegedPort();
  const derived = await importsFile(dataDir).load();
  const goodTexts = await goodManifestsFile(dataDir).load();
  return {
    options,
    levels: {
      goodTexts,
      objects: noObjects,
      derived,
      wantedDerived: derived,
      allocations: await allocationFile(dataDir).load(),
      exportedAtMs: await exportTimesFile(dataDir).load(),
      inputs: undefined,
      toldWorkloads: undefined,
      problems: [],
    },
    folders: [folder(manifestsDir, "", WITHDRAW_AFTER_MS), folder(registeredDir, "registered/", 0)],
    registeredDir,
    health: createHealthChecks(clock, nudge),
    goodTexts: createKeeper<Readonly<Record<string, string>>>({
      ...options,
      name: "last good manifests",
      write: async (texts) => {
        const gone = await dataFolderGone(dataDir);
        if (gone !== undefined) throw gone;
        await goodManifestsFile(dataDir).save(texts);
      },
      refreshMs: GOOD_TEXTS_REFRESH_MS,
      spacingMs: GOOD_TEXTS_SPACING_MS,
    }),
    machine: { range, gatewayBind, lowestPort: ({ user }) => (isRoot() && user === "" ? 1 : unprivileged) },
    changed,
  };
}

/** From what is on disk to inputs; a disk that takes no more leaves everything as it was, and says so. */
async function settle(parts: Parts): Promise<void> {
  const { levels, folders, registeredDir, health, options } = parts;
  const [, registered] = folders;
  try {
    const gone = await dataFolderGone(options.dataDir);
    if (gone !== undefined) throw gone;
    for (const folder of folders) await folder.read();
    if (registered !== undefined) await removeDead(registeredDir, registered.files(), options.log);
    levels.objects = collectObjects(
      folders.flatMap((folder) => folder.files()),
      levels.objects,
    );
    health.follow(levels.objects.records.Workload);
    await takeDerived(parts);
    await giveNumbers(parts);
    await rememberExports(parts);
  } catch (error) {
    if (!isForAPerson(error)) throw error;
    showFault(parts, error);
    return;
  }
  publish(parts);
  rememberGoodTexts(parts);
}

/** Not of a folder that could not be read: what it said before stands. */
function rememberGoodTexts({ levels, folders, goodTexts }: Parts): void {
  if (folders.some((folder) => folder.problems().length > 0)) return;
  const files = folders.flatMap((folder) => folder.files());
  const texts = files.flatMap(({ file, goodText }) => (goodText === undefined ? [] : [[file, goodText] as const]));
  const next = share(levels.goodTexts, Object.fromEntries(texts));
  if (next === levels.goodTexts) return;
  levels.goodTexts = next;
  goodTexts.want(next);
}

function showFault({ levels, options, changed }: Parts, error: Error): void {
  const problems = share(levels.problems, [faultProblem(error)]);
  if (problems === levels.problems) return;
  levels.problems = problems;
  for (const { message } of problems) options.log.warn(message);
  changed();
}

function faultProblem(error: Error): Problem {
  if (error instanceof UserError && error.code === dataGoneCode)
    return { code: error.code, message: `${error.message}; ${error.hint ?? ""}` };
  const message = `what changed is not in force yet: ${causeChain(error).join("; caused by ")}`;
  return { code: "ISTHMUS_SITE_STATE", message };
}

async function takeDerived({ levels, options }: Parts): Promise<void> {
  const wanted = levels.wantedDerived;
  if (wanted === levels.derived) return;
  await importsFile(options.dataDir).save(wanted);
  levels.derived = wanted;
}

async function giveNumbers({ levels, options, machine }: Parts): Promise<void> {
  const { records } = levels.objects;
  const workloads = records.Workload.map(objectKey);
  const services = siteServices(records, levels.derived)
    .filter(({ type }) => type === "ClusterIP")
    .map(objectKey);
  const last = levels.allocations;
  const missing = machine.range === undefined ? withoutPort(last, workloads) : 0;
  const freePorts = missing === 0 ? [] : await freeProxyPorts(missing, new Set(Object.values(last.proxyPorts)));
  const next = share(last, allocate(last, { workloads, services, blocks: machine.range?.blocks ?? 0, freePorts }));
  if (next === last) return;
  await allocationFile(options.dataDir).save(next); // before anybody hears of it: an address must survive a crash
  levels.allocations = next;
}

/** An export that is made anew is a new one; one that is only misspelt for a while is not. */
async function rememberExports(parts: Parts): Promise<void> {
  const { levels, options } = parts;
  const { clock, dataDir } = options;
  const present = levels.objects.records.ServiceExport.map(objectKey);
  const kept = isWhole(parts) ? present : [...present, ...Object.keys(levels.exportedAtMs)];
  const now = clock.now();
  const times = Object.fromEntries(kept.map((key) => [key, levels.exportedAtMs[key] ?? now]));
  const next = share(levels.exportedAtMs, times);
  if (next === levels.exportedAtMs) return;
  await exportTimesFile(dataDir).save(next);
  levels.exportedAtMs = next;
}

function isWhole({ folders }: Parts): boolean {
  return folders.every((each) => each.problems().length === 0 && each.files().every(({ good }) => good));
}

function publish(parts: Parts): void {
  const { levels, folders, health, machine, changed } = parts;
  if (levels.inputs === undefined && !health.isKnown()) return;
  const { objects, allocations, exportedAtMs } = levels;
  const { records } = objects;
  const derived = foreignServices(levels.derived, records.Service);
  const isReady: HealthChecks["isReady"] = (workload) => health.isReady(workload);
  const state = { records, derived: derived.usable, allocations, isReady, exportedAtMs };
  const built = siteInputs(state, machine, levels.inputs);
  const ofFolders = folders.flatMap((folder) => folder.problems());
  const problems = share(levels.problems, [...ofFolders, ...objects.problems, ...derived.problems, ...built.problems]);
  const inputs = share(levels.inputs, built.inputs);
  // who registered a workload is no input of the mesh, but its credential says so
  const isTold = records.Workload === levels.toldWorkloads;
  if (inputs === levels.inputs && problems === levels.problems && isTold) return;
  levels.toldWorkloads = records.Workload;
  levels.inputs = inputs;
  levels.problems = problems;
  changed();
}
