// What an OCI archive holds, told by its index alone: index.json names the manifests by digest, and a digest stands for
// every byte below it. So the key of a 400 MB archive costs a few reads, not a hash over all of it.
import { createHash } from "node:crypto";
import { open, type FileHandle } from "node:fs/promises";
import { UserError } from "../../shared/errors.ts";

const BLOCK = 512;
const MAX_INDEX_BYTES = 1_000_000;

async function block(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  const { bytesRead } = await file.read(bytes, 0, length, offset);
  return bytes.subarray(0, bytesRead);
}

function text(header: Buffer, start: number, length: number): string {
  const field = header.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.toString("utf8", 0, end === -1 ? length : end);
}

/** Walks the tar's headers (each entry is skipped, not read) to the file of that name. */
async function findInTar(file: FileHandle, name: string): Promise<Buffer | undefined> {
  let at = 0;
  for (;;) {
    const header = await block(file, at, BLOCK);
    if (header.length < BLOCK || header[0] === 0) return undefined;
    const size = Number.parseInt(text(header, 124, 12).trim() || "0", 8);
    const path = text(header, 0, 100).replace(/^\.\//, "");
    if (path === name) return size > MAX_INDEX_BYTES ? undefined : block(file, at + BLOCK, size);
    if (!Number.isFinite(size)) return undefined; // base-256 sizes: not an archive that we can skip through
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
}

export interface ImageArchive {
  readonly file: string;
  /** Equal for archives with equal content and names. */
  readonly key: string;
}

export async function readArchive(path: string): Promise<ImageArchive> {
  const bad = (reason: string, cause?: unknown) =>
    new UserError("ISTHMUS_CLUSTERS_BAD_IMAGE", `${path} is no OCI image archive: ${reason}`, {
      cause,
      hint: "npm run images makes them",
    });
  const file = await open(path).catch((error: unknown) => {
    throw bad("it cannot be read", error);
  });
  try {
    const index = await findInTar(file, "index.json");
    if (index === undefined) throw bad("it holds no index.json");
    const { manifests } = JSON.parse(index.toString("utf8")) as { manifests?: readonly unknown[] };
    if (manifests === undefined || manifests.length === 0) throw bad("its index names no manifest");
    return { file: path, key: createHash("sha256").update(JSON.stringify(manifests)).digest("hex").slice(0, 32) };
  } finally {
    await file.close();
  }
}

/** One key for a set of archives, whatever their order. */
export function setKey(archives: readonly ImageArchive[]): string {
  const keys = archives.map((archive) => archive.key).sort();
  return createHash("sha256").update(keys.join("\n")).digest("hex").slice(0, 24);
}
