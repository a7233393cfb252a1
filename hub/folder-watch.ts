// Looks whether the hub's data folder is there while the hub runs. One that is gone takes keys and Redis's log with it at the next start,
// so the hub says so and is not ready; it goes on with what it holds, for members live on what they have.
import type { Clock } from "../shared/clock.ts";
import { dataFolderGone } from "../shared/data-folder.ts";
import type { Task } from "../shared/lifecycle.ts";
import type { Log } from "../shared/log.ts";

const LOOK_MS = 1_000;

export interface FolderWatch {
  /** Empty: it is there. */
  problem(): string;
  readonly task: Task;
}

export interface FolderWatchDeps {
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Log;
}

export function watchDataFolder({ dataDir, clock, log }: FolderWatchDeps): FolderWatch {
  let problem = "";
  const look = async () => {
    const gone = await dataFolderGone(dataDir);
    const now = gone === undefined ? "" : `${gone.message}; ${gone.hint ?? ""}`;
    if (now === problem) return;
    if (gone === undefined) log.info("the data folder is back", { folder: dataDir });
    else log.error(now, { code: gone.code });
    problem = now;
  };
  const run = async (signal: AbortSignal) => {
    while (!signal.aborted) {
      await look();
      await clock.sleep(LOOK_MS, signal).catch(() => undefined);
    }
  };
  return { problem: () => problem, task: { name: "data-folder", run } };
}
