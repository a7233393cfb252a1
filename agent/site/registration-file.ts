// One registration in a site's data folder: `isthmus run` writes it and takes it away, the agent removes what a killed one has left.
// Several may decide at once that it is over, and the next process registers under the same name.
import { link, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { pidAnnotation } from "./credential-folder.ts";

/** The process that a registration names, as `isthmus run` writes it (JSON); 0: none. */
export function pidOfRegistration(text: string): number {
  const { metadata } = JSON.parse(text) as { metadata?: { annotations?: Record<string, string> } };
  return Number(metadata?.annotations?.[pidAnnotation] ?? 0);
}

/** Undefined: there is no registration. */
export function readRegistration(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").catch(() => undefined);
}

/**
 * Removes the registration if `isOver` says so of its text, and says whether it did. Never the one that has come into its place
 * since it was read: that once took a new process's registration, which then waited for a credential in vain.
 */
export async function removeRegistration(path: string, isOver: (text: string) => boolean): Promise<boolean> {
  const text = await readRegistration(path);
  if (text === undefined || !isOver(text)) return false;
  // a name of its own: what is looked at now is what is removed
  const aside = join(dirname(path), `.${basename(path)}.${process.pid}`);
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
  try {
    const moved = await readRegistration(aside);
    if (moved === undefined || isOver(moved)) return true;
    await linkWhereNothingIs(aside, path);
    return false;
  } finally {
    await rm(aside, { force: true });
  }
}

/** A link appears whole. False: there is something already. */
export function linkWhereNothingIs(from: string, to: string): Promise<boolean> {
  return link(from, to).then(
    () => true,
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    },
  );
}
