// A folder of manifests, read live: the system says that something changed, a slow look makes up for what it did not say. A
// folder that is gone freezes what was read; only a file that is gone from a folder that is there, and stays so for a moment,
// withdraws its objects: `rm -r` takes the files before their folder, and git and many editors take a file before they write it anew.
import { watch, type FSWatcher } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../shared/clock.ts";
import type { Log } from "../../shared/log.ts";
import type { Problem } from "../../shared/result.ts";
import { readManifestFile, type ManifestFile } from "./manifest-file.ts";

export interface ManifestFolder {
  /** Looks at every file, reads those that changed. */
  read(): Promise<void>;
  /** In order of their names. */
  files(): readonly ManifestFile[];
  /** Of the folder itself. */
  problems(): readonly Problem[];
  close(): void;
}

export interface ManifestFolderOptions {
  readonly path: string;
  /** Shown before a file's name, so that a person knows which of the folders it is in. */
  readonly prefix: string;
  /** Something in the folder may have changed. */
  readonly onEvent: () => void;
  /** By shown name: what each file said when it was good last, in an earlier process. */
  readonly goodTexts: Readonly<Record<string, string>>;
  /** A file counts as gone when it has been away for this long. */
  readonly withdrawAfterMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

const manifestName = /^[^.].*\.(yaml|yml|json)$/;

interface Seen {
  /** Of the file's version: equal means that it was not touched, unless it was read while its time still ticked. */
  readonly stamp: string;
  readonly isSettled: boolean;
  readonly manifest: ManifestFile;
}

/** File times move in steps of some milliseconds: two writes within one leave the same time, and may leave the same size. */
const TIME_STEP_MS = 100;

export function openManifestFolder(options: ManifestFolderOptions): ManifestFolder {
  const { path, prefix } = options;
  let seen = new Map<string, Seen>();
  let files: readonly ManifestFile[] = [];
  let problems: readonly Problem[] = [];
  const away = filesAway(options);
  const watcher = folderWatcher(options);
  const look = async () => {
    await watcher.follow(); // before reading: what changes while we read is told
    const listed = await identityOf(path);
    const names = (await readdir(path)).filter((name) => manifestName.test(name)).sort();
    const next = new Map<string, Seen>();
    const unreadable: Problem[] = [];
    for (const name of names) {
      const known = seen.get(name);
      const good = options.goodTexts[`${prefix}${name}`];
      const found = await readOne(
        { path: join(path, name), file: `${prefix}${name}`, nowMs: options.clock.now(), good },
        known,
      );
      if (found !== undefined && "manifest" in found) next.set(name, found);
      else if (found !== undefined) unreadable.push(found);
      if (found !== undefined && !("manifest" in found) && known !== undefined) next.set(name, known);
    }
    // a folder that was moved away while its files were looked for has taken them along, and withdraws none
    if ((await identityOf(path)) !== listed) throw new Error("it was replaced while it was read");
    const kept = [...next, ...away.kept(new Map([...seen].filter(([name]) => !next.has(name))))];
    seen = new Map(kept.sort(([one], [other]) => (one < other ? -1 : 1)));
    problems = unreadable;
    const manifests = [...seen.values()].map(({ manifest }) => manifest);
    if (manifests.length !== files.length || manifests.some((each, index) => each !== files[index])) files = manifests;
  };
  return {
    read: async () => {
      try {
        await look();
      } catch (error) {
        const reason = error instanceof Error ? error.message : "unknown";
        const message = `the folder ${path} cannot be read, what was read last stays in force: ${reason}`;
        problems = [{ code: "ISTHMUS_MANIFESTS_FROZEN", message }];
        away.forget(); // a folder that comes back is filled file by file
      }
    },
    files: () => files,
    problems: () => problems,
    close: () => {
      watcher.close();
      away.forget();
    },
  };
}

/** Files that were there at one look and not at the next: nobody is told before they had the time to come back. */
function filesAway({ withdrawAfterMs, clock, onEvent }: ManifestFolderOptions) {
  let sinceMs = new Map<string, number>();
  let due: NodeJS.Timeout | undefined;
  const kept = (gone: ReadonlyMap<string, Seen>): readonly (readonly [string, Seen])[] => {
    const now = clock.now();
    const since = (name: string) => sinceMs.get(name) ?? now;
    const entries = [...gone].filter(([name]) => now - since(name) < withdrawAfterMs);
    sinceMs = new Map(entries.map(([name]) => [name, since(name)]));
    if (entries.length > 0) due ??= setTimeout(lookAgain, withdrawAfterMs).unref();
    return entries;
  };
  const lookAgain = () => {
    due = undefined;
    onEvent();
  };
  const forget = () => {
    clearTimeout(due);
    due = undefined;
    sinceMs = new Map();
  };
  return { kept, forget };
}

interface Look {
  readonly path: string;
  /** As a person finds it. */
  readonly file: string;
  readonly nowMs: number;
  readonly good: string | undefined;
}

/** Undefined: the file went away between the list and the look. */
async function readOne(
  { path, file, nowMs, good }: Look,
  known: Seen | undefined,
): Promise<Seen | Problem | undefined> {
  try {
    const { mtimeMs, ctimeMs, size, ino } = await stat(path);
    const stamp = `${ino} ${size} ${mtimeMs} ${ctimeMs}`;
    if (known?.stamp === stamp && known.isSettled) return known;
    const isSettled = Math.abs(nowMs - mtimeMs) > TIME_STEP_MS;
    const last = known?.manifest ?? (good === undefined ? undefined : readManifestFile(file, good, undefined));
    return { stamp, isSettled, manifest: readManifestFile(file, await readFile(path, "utf8"), last) };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    return { code: "ISTHMUS_MANIFEST", message: `${file}:1: cannot be read: ${message}` };
  }
}

/** Of the folder itself, whatever its name is. */
async function identityOf(path: string): Promise<string> {
  const { dev, ino } = await stat(path);
  return `${dev} ${ino}`;
}

/** A watch is on a folder, not on its name: another folder of that name needs another watch. */
function folderWatcher({ path, onEvent, log }: ManifestFolderOptions) {
  let watcher: FSWatcher | undefined;
  let inode = "";
  const close = () => {
    watcher?.close();
    watcher = undefined;
    inode = "";
  };
  const follow = async () => {
    const now = await identityOf(path);
    if (watcher !== undefined && inode === now) return;
    close();
    try {
      watcher = watch(path, { persistent: false }, onEvent);
      watcher.on("error", close);
      inode = now;
    } catch (error) {
      // too many watches on this machine: the slow look goes on
      log.warn("no change events for a folder", { folder: path, reason: error instanceof Error ? error.message : "" });
    }
  };
  return { follow, close };
}
