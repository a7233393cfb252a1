// A program that is installed on this machine: where it is, and which version it says it is.
import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

/** A program that does not end by itself is not the one that was asked for. */
const VERSION_MS = 5000;

/** System folders are searched too: a user's PATH often lacks /usr/sbin. */
export async function onPath(name: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const folders = (env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  for (const folder of [...folders, "/usr/local/sbin", "/usr/sbin", "/sbin"]) {
    const path = join(folder, name);
    const usable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return path;
  }
  return undefined;
}

/** First group of `pattern` in what `--version` prints; undefined when the program does not run. */
export async function versionOf(path: string, pattern: RegExp): Promise<string | undefined> {
  const said = await promisify(execFile)(path, ["--version"], { timeout: VERSION_MS }).catch(() => undefined);
  return said === undefined ? undefined : pattern.exec(`${said.stdout}\n${said.stderr}`)?.[1];
}
