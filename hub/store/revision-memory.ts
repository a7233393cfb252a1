// The newest (incarnation, revision) this hub has seen, kept in its data folder outside of Redis: the witness that
// notices a restored old dump. Written at most every few seconds; being a little behind only makes it more lenient, which is
// why a full disk or a folder that is away delays it and ends nothing.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../shared/clock.ts";
import { dataFolderGone } from "../../shared/data-folder.ts";
import { UserError } from "../../shared/errors.ts";
import type { Log } from "../../shared/log.ts";
import { writeSecretFile } from "../../shared/pki/secret-file.ts";
import type { Remembered } from "./redis-registry.ts";

const saveEveryMs = 5_000;

export interface RevisionMemory {
  seen(): Remembered;
  see(now: Remembered): void;
  /** Task: saves what was seen, and once more when the hub ends. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

export async function openRevisionMemory(dataDir: string, clock: Clock, log: Log): Promise<RevisionMemory> {
  const path = join(dataDir, "remembered.json");
  let current = await readRemembered(path);
  let saved = current;
  let refused = "";
  const save = async () => {
    if (current.incarnation === saved.incarnation && current.revision === saved.revision) return;
    const next = current;
    try {
      // which the hub says (hub/folder-watch.ts); writing would make a new one, in the way of the old one's return
      if ((await dataFolderGone(dataDir)) !== undefined) return;
      await writeSecretFile(path, `${JSON.stringify(next)}\n`, 0o600, "existing");
      saved = next;
      refused = "";
    } catch (error) {
      if (!(error instanceof UserError)) {
        if ((await dataFolderGone(dataDir)) !== undefined) return; // in the middle of it
        throw error;
      }
      const { message, hint, code } = error;
      if (message !== refused) log.error(message, { code, next: hint });
      refused = message;
    }
  };
  return {
    seen: () => current,
    see: ({ incarnation, revision }) => {
      current = { incarnation, revision };
    },
    run: async (signal) => {
      try {
        for (;;) {
          await save();
          await clock.sleep(saveEveryMs, signal);
        }
      } finally {
        await save();
      }
    },
  };
}

async function readRemembered(path: string): Promise<Remembered> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  });
  if (text === undefined) return { incarnation: "", revision: 0 };
  const { incarnation, revision } = JSON.parse(text) as Partial<Remembered>;
  if (typeof incarnation !== "string" || typeof revision !== "number") {
    throw new Error(`${path} is damaged; restore it from a backup, or delete it to trust Redis as it is`);
  }
  return { incarnation, revision };
}
