// Files that hold secrets or trust (the hub's data folder, a site's identity): written whole or not at all, read only when
// nobody else could have read or changed them. Called by hub/ca and agent/identity; knows nothing of what is inside.
import { open, mkdir, readFile, rename, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { UserError } from "../errors.ts";

/** Bits of group and others: any of them means that somebody else reads a key or writes a root. */
const foreignBits = 0o077;

/**
 * Temporary file, fsync, rename, fsync of the folder: after a crash or a full disk the old file or the new one is there, whole.
 * `inFolder` "existing" makes no folder: one that was taken away must find its place free when it is put back.
 */
export async function writeSecretFile(
  path: string,
  text: string,
  mode: 0o400 | 0o600,
  inFolder: "made" | "existing" = "made",
): Promise<void> {
  const folder = dirname(path);
  if (inFolder === "made") await mkdir(folder, { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}.new`;
  try {
    const file = await open(temporary, "w", mode);
    try {
      await file.chmod(mode); // the umask may have taken bits, an old temporary file may have had others
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => undefined); // it may not exist; what matters is thrown below
    throw fileError(error, path, "write");
  }
  const handle = await open(folder, "r");
  await handle.sync().finally(() => handle.close());
}

export async function readSecretFile(path: string): Promise<string> {
  try {
    const { mode, uid } = await stat(path);
    const foreign = (mode & foreignBits) !== 0;
    if (foreign || uid !== process.getuid?.()) {
      const found = foreign ? `has mode ${(mode & 0o777).toString(8)}` : `belongs to user ${uid}`;
      throw new UserError("ISTHMUS_FILE_MODE", `${path} ${found}; only this program's user may have access`, {
        hint: `check who could have read it, then: chmod 600 ${path} (and chown it to this program's user)`,
      });
    }
    return await readFile(path, "utf8");
  } catch (error) {
    throw fileError(error, path, "read");
  }
}

export async function fileExists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw fileError(error, path, "read");
  }
}

function fileError(error: unknown, path: string, verb: "read" | "write"): Error {
  if (!(error instanceof Error) || error instanceof UserError || !("code" in error)) {
    return error instanceof Error ? error : new Error(`cannot ${verb} ${path}`, { cause: error });
  }
  const details = isDiskFull(error)
    ? { cause: error, hint: "the disk is full: make room; nothing was changed" }
    : { cause: error, hint: `check that the folder exists and belongs to this program's user (${String(error.code)})` };
  return new UserError("ISTHMUS_DATA_FOLDER", `cannot ${verb} ${path}`, details);
}

/** True for what a full disk, or the end of a quota, refused: everything is as before, and goes on once there is room. */
export function isDiskFull(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = "code" in error ? error.code : undefined;
  return code === "ENOSPC" || code === "EDQUOT" || isDiskFull(error.cause);
}
