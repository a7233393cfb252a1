// What a program that runs says of its data folder when somebody takes it away: it goes on from memory and writes no half of it anew.
// Moved back, it is whole: files that are open move along. Called by the hub and by a site's agent.
import { stat } from "node:fs/promises";
import { UserError } from "./errors.ts";

export const dataGoneCode = "ISTHMUS_DATA_GONE";

/** Undefined: it is there. */
export async function dataFolderGone(path: string): Promise<UserError | undefined> {
  try {
    if ((await stat(path)).isDirectory()) return undefined;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause;
  }
  return new UserError(
    dataGoneCode,
    `the data folder ${path} is gone: everything runs on as it was, and nothing that changes now is kept`,
    { hint: "put it back before this program ends: its keys are in it" },
  );
}
