// Prometheus, for what is asked of one: the program of Debian's package, unpacked and never installed.
import { cp, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { findProgram, runCommand } from "../../deploy/images/command.ts";
import { UserError } from "../../shared/errors.ts";
import { cached, entryPath } from "../../shared/programs/cache.ts";
import type { Progress } from "../../shared/progress.ts";

const entry = { name: "prometheus", version: "bookworm" };

/** Where it is once it was fetched. */
export const prometheusPath = (): string => join(entryPath(entry), "prometheus");

/** One on PATH, else that of the package. */
export async function ensurePrometheus(progress: Progress): Promise<string> {
  const own = await findProgram("prometheus");
  if (own !== undefined) return own;
  await cached(entryPath(entry), progress, async (dir) => {
    if ((await findProgram("apt-get")) === undefined) {
      throw new UserError("ISTHMUS_NEEDS_DEBIAN", "Prometheus is taken from a Debian package here", {
        hint: "install prometheus so that it is on PATH",
      });
    }
    progress.say("fetching prometheus (Debian package, 20 MB)");
    const scratch = join(dir, "unpack");
    await mkdir(scratch);
    await runCommand(["apt-get", "download", "-qq", "prometheus"], { cwd: scratch });
    const deb = (await readdir(scratch)).find((name) => name.endsWith(".deb")) ?? "";
    await runCommand(["dpkg-deb", "-x", join(scratch, deb), scratch]);
    await cp(join(scratch, "usr/bin/prometheus"), join(dir, "prometheus"));
    await runCommand(["rm", "-r", scratch]);
  });
  return prometheusPath();
}
