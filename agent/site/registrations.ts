// Registrations that `isthmus run` left behind when it was killed: the workload's process is gone, so is its claim. Pids are
// of this machine, as the folder is.
import { unlink } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import type { Log } from "../../shared/log.ts";
import type { ManifestFile } from "./manifest-file.ts";

/** Files whose every workload was registered by a process that is dead. */
export function deadRegistrations(
  files: readonly ManifestFile[],
  isAlive: (pid: number) => boolean,
): readonly ManifestFile[] {
  return files.filter(({ objects }) => {
    const pids = objects.map(({ object }) =>
      object.kind === "Workload" && object.record !== undefined && "pid" in object.record ? object.record.pid : 0,
    );
    return pids.length > 0 && pids.every((pid) => pid !== 0 && !isAlive(pid));
  });
}

export async function removeDead(folder: string, files: readonly ManifestFile[], log: Log): Promise<void> {
  for (const { file } of deadRegistrations(files, isAlive)) {
    const name = file.slice(file.lastIndexOf("/") + 1);
    try {
      await unlink(join(folder, name));
      log.info("the process behind a registered workload is dead: its registration is removed", { file: name });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
}

/** A process of another user cannot be signalled, but it is there. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
