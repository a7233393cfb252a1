// Registrations that `isthmus run` left behind when it was killed: the workload's process is gone, so is its claim. Pids are
// of this machine, as the folder is.
import { join } from "node:path";
import process from "node:process";
import type { Log } from "../../shared/log.ts";
import { readManifestFile, type ManifestFile } from "./manifest-file.ts";
import { removeRegistration } from "./registration-file.ts";

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

/** What `files` said may be of yesterday: each is looked at once more. */
export async function removeDead(folder: string, files: readonly ManifestFile[], log: Log): Promise<void> {
  for (const { file } of deadRegistrations(files, isAlive)) {
    const name = file.slice(file.lastIndexOf("/") + 1);
    const isDead = (text: string) => deadRegistrations([readManifestFile(file, text, undefined)], isAlive).length > 0;
    if (await removeRegistration(join(folder, name), isDead))
      log.info("the process behind a registered workload is dead: its registration is removed", { file: name });
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
