// The file with a join token. Read only while a member has not joined yet.
import { readFile } from "node:fs/promises";
import { UserError } from "../shared/errors.ts";

/** Undefined while there is none. */
export async function readToken(file: string): Promise<string | undefined> {
  try {
    const text = (await readFile(file, "utf8")).trim();
    return text === "" ? undefined : text;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new UserError("ISTHMUS_TOKEN_FILE", `cannot read the join token in ${file}`, { cause: error });
  }
}
