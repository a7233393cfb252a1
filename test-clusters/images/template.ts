// A containerd root with all images of a run imported and unpacked, made once per set of images and kept in the cache.
// A cluster starts from it at no cost: unpacked layers never change, so the cluster's root has links to them; the
// databases are its own. A new set starts from the last one, so that a changed image costs its own layers and no more.
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cacheRoot, withLock } from "../../shared/programs/cache.ts";
import { findProgram, runCommand } from "../machine/command.ts";
import { importerConfig, type ContainerdSettings, type ContainerdVersion } from "../machine/containerd.ts";
import type { CgroupLayout } from "../machine/cgroups.ts";
import { procsFile } from "../machine/cgroups.ts";
import type { Progress } from "../../shared/progress.ts";
import type { RunPaths } from "../run/paths.ts";
import { endProcess, forgetProcess, logTail, pause, startProcess, type ProcessRecord } from "../run/processes.ts";
import { setKey, type ImageArchive } from "./archive-key.ts";

/** Older sets are removed: an image set is some 100 MB and every change of the code makes one. */
const KEPT_TEMPLATES = 2;
const START_MS = 60_000;

function templatesDir(): string {
  return join(cacheRoot(), "image-sets");
}

const SNAPSHOTTER = "io.containerd.snapshotter.v1.overlayfs";
/** Containerd opens these for writing, so no two roots may share them. */
const databases = ["io.containerd.metadata.v1.bolt/meta.db", `${SNAPSHOTTER}/metadata.db`] as const;

async function ownDatabases(from: string, to: string): Promise<void> {
  for (const database of databases) {
    const file = join(to, database);
    await rm(file, { force: true });
    await runCommand("cp", ["-a", join(from, database), file]);
  }
}

/** A root that outlives its source: every file is a hard link, the databases are copies. */
async function cloneRoot(from: string, to: string, signal: AbortSignal): Promise<void> {
  await runCommand("cp", ["-al", from, to], { signal });
  await ownDatabases(from, to);
}

/**
 * A cluster's root: its unpacked layers are symbolic links into the template, which `prune` keeps while a run refers to
 * it. Overlay mounts follow them; copying the thousands of files, by hard links even, took seconds per cluster.
 */
export async function rootFromTemplate(template: string, to: string, signal: AbortSignal): Promise<void> {
  await mkdir(join(to, SNAPSHOTTER, "snapshots"), { recursive: true });
  const parts = (await readdir(template)).filter((part) => part !== SNAPSHOTTER);
  const sources = parts.map((part) => join(template, part));
  if (sources.length > 0) await runCommand("cp", ["-al", ...sources, to], { signal });
  await ownDatabases(template, to);
  const layers = join(SNAPSHOTTER, "snapshots");
  for (const layer of await readdir(join(template, layers)))
    await symlink(join(template, layers, layer), join(to, layers, layer));
}

export interface TemplateDeps {
  readonly paths: RunPaths;
  readonly layout: CgroupLayout;
  readonly containerd: ContainerdVersion;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** File in a run's folder that names its template: a template that a run refers to is not pruned. */
const REFERENCE = "image-set";

/** Root of the template for these archives, made now if it is missing. */
export async function ensureTemplate(archives: readonly ImageArchive[], deps: TemplateDeps): Promise<string> {
  const name = `${setKey(archives)}-containerd${deps.containerd.major}`;
  const template = join(templatesDir(), name);
  await mkdir(templatesDir(), { recursive: true });
  await withLock(`${templatesDir()}.lock`, deps.progress, async () => {
    await writeFile(join(deps.paths.home, REFERENCE), name);
    if (existsSync(template)) return;
    await deps.progress.step("importing images into a template", () => fill(template, archives, deps));
    await prune();
  });
  const now = new Date();
  await utimes(template, now, now); // the most recently used set is the base of the next one
  return join(template, "root");
}

async function byAge(): Promise<readonly string[]> {
  const names = await readdir(templatesDir());
  const dated = await Promise.all(
    names.map(async (name) => ({ name, usedMs: (await stat(join(templatesDir(), name))).mtimeMs })),
  );
  return dated.sort((a, b) => b.usedMs - a.usedMs).map(({ name }) => name);
}

async function prune(): Promise<void> {
  const runs = join(cacheRoot(), "runs");
  const references = await Promise.all(
    (await readdir(runs)).map((run) => readFile(join(runs, run, REFERENCE), "utf8").catch(() => "")),
  );
  const old = (await byAge()).slice(KEPT_TEMPLATES).filter((name) => !references.includes(name));
  for (const name of old) await rm(join(templatesDir(), name), { recursive: true, force: true });
}

/** Made inside the run's own folder, so that the sweep of a killed run removes a half-made one. */
async function fill(template: string, archives: readonly ImageArchive[], deps: TemplateDeps): Promise<void> {
  const work = join(deps.paths.home, "template");
  const root = join(work, "root");
  await mkdir(work, { recursive: true });
  const suffix = `-containerd${deps.containerd.major}`;
  const base = (await byAge()).find((name) => name.endsWith(suffix));
  let present: ReadonlySet<string> = new Set();
  if (base !== undefined) {
    await cloneRoot(join(templatesDir(), base, "root"), root, deps.signal);
    present = new Set(JSON.parse(await readFile(join(templatesDir(), base, "keys.json"), "utf8")) as string[]);
  }
  const missing = archives.filter((archive) => !present.has(archive.key));
  await importAll(root, missing, deps);
  await writeFile(join(work, "keys.json"), JSON.stringify(archives.map((archive) => archive.key)));
  await rename(work, template);
}

async function importAll(root: string, archives: readonly ImageArchive[], deps: TemplateDeps): Promise<void> {
  const state = join(deps.paths.runtime, "importer");
  const socket = join(state, "containerd.sock");
  await mkdir(state, { recursive: true });
  const settings: ContainerdSettings = {
    root,
    state: join(state, "state"),
    socket,
    sandboxImage: "",
    cniBinDir: "",
    cniConfDir: "",
  };
  const config = join(state, "config.toml");
  await writeFile(config, importerConfig(deps.containerd, settings));
  const containerd = await findProgram("containerd");
  const importer = await startProcess(deps.paths, {
    name: "importer",
    procsFile: procsFile(deps.layout, `${deps.paths.cgroup}/fleet`),
    // a mount namespace of its own: what unpacking mounts ends with it
    argv: ["unshare", "--mount", "--propagation", "slave", containerd ?? "containerd", "--config", config],
    logFile: join(deps.paths.logs, "importer.log"),
  });
  try {
    await waitForSocket(socket, importer);
    const address = ["-a", socket, "-n", "k8s.io"];
    for (const archive of archives) {
      await runCommand("ctr", [...address, "images", "import", "--snapshotter", "overlayfs", archive.file], {
        signal: deps.signal,
      });
    }
  } finally {
    await endProcess(importer, "SIGTERM", 5000);
    await forgetProcess(deps.paths, "importer");
  }
}

async function waitForSocket(socket: string, owner: ProcessRecord): Promise<void> {
  const deadline = performance.now() + START_MS;
  for (;;) {
    const answered = await runCommand("ctr", ["-a", socket, "version"], { timeoutMs: 2000 }).catch(() => undefined);
    if (answered !== undefined) return;
    if (performance.now() > deadline)
      throw new Error(`containerd did not start in ${START_MS / 1000} s: ${await logTail(owner.spec.logFile)}`);
    await pause(100);
  }
}
