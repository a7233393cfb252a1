// The folder where images and what they are made of are kept between runs, and the lock that keeps two builds apart.
import { mkdir, readFile, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { UserError } from "../../shared/errors.ts";
import { cacheRoot } from "../../shared/programs/cache.ts";

/** A cold build holds a Debian root, its storage, a context and three archives at once. */
const NEEDED_BYTES = 3e9;
const LOCK_WAIT_MS = 20 * 60_000;

export function imageCacheFolder(): string {
  return join(cacheRoot(), "images");
}

export async function checkSpace(folder: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free >= NEEDED_BYTES) return;
  throw new UserError(
    "ISTHMUS_DISK_FULL",
    `building images needs 3 GB; ${folder} has ${(free / 1e9).toFixed(1)} GB free`,
    {
      hint: "free some space, or set XDG_CACHE_HOME to a folder on a larger disk",
    },
  );
}

/** Runs `work` alone on this machine. The lock of a process that is gone is taken over. */
export async function withImageLock<T>(folder: string, waiting: () => void, work: () => Promise<T>): Promise<T> {
  const lock = join(folder, "lock");
  await mkdir(folder, { recursive: true });
  const deadline = Date.now() + LOCK_WAIT_MS;
  let told = false;
  while (!(await takeLock(lock))) {
    if (!told) waiting();
    told = true;
    if (Date.now() > deadline) {
      throw new UserError("ISTHMUS_IMAGE_LOCK", `another image build holds ${lock}`, {
        hint: "wait for it, or remove that folder if none is running",
      });
    }
    await delay(250);
  }
  try {
    return await work();
  } finally {
    await rm(lock, { recursive: true, force: true });
  }
}

async function takeLock(lock: string): Promise<boolean> {
  try {
    await mkdir(lock);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    if (!(await holderAlive(lock))) await rm(lock, { recursive: true, force: true });
    return false;
  }
  await writeFile(join(lock, "pid"), String(process.pid));
  return true;
}

async function holderAlive(lock: string): Promise<boolean> {
  const pid = Number(await readFile(join(lock, "pid"), "utf8").catch(() => ""));
  // between mkdir and writeFile the holder has no number yet: it is alive
  if (!pid) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
