// A containerd root with all images of a run imported and unpacked, made once per set of images and kept in the cache.
// A cluster starts from a copy: layers and blobs never change, so they are hard links; the databases are real copies.
// A new set starts from the last one, so that a changed image costs its own layers and not all of them.
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cacheRoot, withLock } from "../binaries/cache.ts";
import { findProgram, runCommand } from "../machine/command.ts";
import { importerConfig, type ContainerdSettings, type ContainerdVersion } from "../machine/containerd.ts";
import type { CgroupLayout } from "../machine/cgroups.ts";
import { procsFile } from "../machine/cgroups.ts";
import type { Progress } from "../progress.ts";
import type { RunPaths } from "../run/paths.ts";
import { endProcess, forgetProcess, logTail, pause, startProcess, type ProcessRecord } from "../run/processes.ts";
import { setKey, type ImageArchive } from "./archive-key.ts";

/** Older sets are removed: an image set is some 100 MB and every change of the code makes one. */
const KEPT_TEMPLATES = 2;
const START_MS = 20_000;

function templatesDir(): string {
  return join(cacheRoot(), "image-sets");
}

/** Containerd opens these for writing, so a copy must not share them with its template. */
const databases = [
  "io.containerd.metadata.v1.bolt/meta.db",
  "io.containerd.snapshotter.v1.overlayfs/metadata.db",
] as const;

/** Copies a root by hard links and then gives the copy databases of its own. */
export async function copyRoot(from: string, to: string): Promise<void> {
  await runCommand("cp", ["-al", from, to]);
  for (const database of databases) {
    const file = join(to, database);
    if (!existsSync(file)) continue;
    await rm(file);
    await runCommand("cp", ["-a", join(from, database), file]);
  }
}

export interface TemplateDeps {
  readonly paths: RunPaths;
  readonly layout: CgroupLayout;
  readonly containerd: ContainerdVersion;
  readonly progress: Progress;
}

/** Folder of the template for these archives, made now if it is missing. */
export async function ensureTemplate(archives: readonly ImageArchive[], deps: TemplateDeps): Promise<string> {
  const name = `${setKey(archives)}-containerd${deps.containerd.major}`;
  const template = join(templatesDir(), name);
  await mkdir(templatesDir(), { recursive: true });
  if (!existsSync(template)) {
    await withLock(`${templatesDir()}.lock`, deps.progress, async () => {
      if (existsSync(template)) return;
      await deps.progress.step("importing images into a template", () => fill(template, archives, deps));
      await prune(template);
    });
  }
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

async function prune(keep: string): Promise<void> {
  const others = (await byAge()).filter((name) => join(templatesDir(), name) !== keep);
  for (const name of others.slice(KEPT_TEMPLATES - 1))
    await rm(join(templatesDir(), name), { recursive: true, force: true });
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
    await copyRoot(join(templatesDir(), base, "root"), root);
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
    for (const archive of archives) {
      await runCommand("ctr", [
        "-a",
        socket,
        "-n",
        "k8s.io",
        "images",
        "import",
        "--snapshotter",
        "overlayfs",
        archive.file,
      ]);
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
