// One cache folder for everything built or downloaded, keyed by name, version and architecture. An entry appears by a
// rename when it is whole, so a crash leaves no half entry, and a kernel lock lets two builders side by side share one build.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join } from "node:path";
import type { Progress } from "../progress.ts";

export function cacheRoot(env: NodeJS.ProcessEnv = process.env): string {
  const base = env["XDG_CACHE_HOME"];
  return join(base === undefined || base === "" ? join(homedir(), ".cache") : base, "isthmus");
}

export interface CacheEntry {
  readonly name: string;
  readonly version: string;
}

/** Go's and the OCI's word for this machine. */
export function goArch(arch: string = process.arch): "amd64" | "arm64" {
  if (arch === "x64") return "amd64";
  if (arch === "arm64") return "arm64";
  throw new Error(`there are no programs for ${arch}, only for x64 and arm64`);
}

export function entryPath(entry: CacheEntry, arch: string = goArch()): string {
  return join(cacheRoot(), `${entry.name}-${entry.version}-${arch}`);
}

/** The folder of the entry; `fill` makes its content in an empty folder and is called by one process at a time. */
export async function cached(path: string, progress: Progress, fill: (dir: string) => Promise<void>): Promise<string> {
  if (existsSync(path)) return path;
  await mkdir(dirname(path), { recursive: true });
  if (process.platform !== "linux") return filled(path, fill); // no flock(1): two builders do the work twice, one rename wins
  return withLock(`${path}.lock`, progress, async () => {
    if (existsSync(path)) return path; // another process filled it while this one waited
    await removeAbandoned(path);
    return filled(path, fill);
  });
}

async function filled(path: string, fill: (dir: string) => Promise<void>): Promise<string> {
  const temporary = `${path}.tmp-${process.pid}`;
  await mkdir(temporary);
  try {
    await fill(temporary);
    await rename(temporary, path).catch((error: unknown) => {
      if (!existsSync(path)) throw error;
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return path;
}

/** Holding the lock proves that no builder lives, so every temporary folder of this entry was left by a crash. */
async function removeAbandoned(path: string): Promise<void> {
  const prefix = `${basename(path)}.tmp-`;
  for (const name of await readdir(dirname(path))) {
    if (name.startsWith(prefix)) await rm(join(dirname(path), name), { recursive: true, force: true });
  }
}

/**
 * Runs `work` while holding the file's lock. The lock belongs to a flock(1) child that lives as long as its standard
 * input: when this process dies in any way, the pipe closes and the kernel frees the lock.
 */
export async function withLock<T>(file: string, progress: Progress, work: () => Promise<T>): Promise<T> {
  await mkdir(dirname(file), { recursive: true });
  const holder = spawn("flock", ["--exclusive", file, "sh", "-c", "echo held; exec cat"], {
    stdio: ["pipe", "pipe", "inherit"],
    detached: true, // Ctrl-C at a terminal must not free the lock before this process has cleaned up
  });
  const waiting = setTimeout(() => progress.say(`  waiting for another process that holds ${file}`), 1000);
  try {
    await new Promise<void>((resolve, reject) => {
      holder.once("error", (error) => reject(new Error("cannot run flock (package util-linux)", { cause: error })));
      holder.once("exit", (code) => reject(new Error(`cannot lock ${file}: flock ended with ${String(code)}`)));
      holder.stdout.once("data", () => resolve());
    });
    clearTimeout(waiting);
    return await work();
  } finally {
    clearTimeout(waiting);
    holder.stdin.end();
  }
}
