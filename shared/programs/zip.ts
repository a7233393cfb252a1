// Reads zip files (a Python wheel and a Go toolchain are zips), so that neither Python nor unzip is needed. Only what
// those two use: stored and deflated entries, no encryption, no zip64. Every entry's CRC is checked.
import { mkdir, open, writeFile, type FileHandle } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { crc32, inflateRawSync } from "node:zlib";

// .ZIP File Format Specification 6.3.10, sections 4.3.16 (end), 4.3.12 (central directory), 4.3.7 (local header)
const END_SIGNATURE = 0x06054b50;
const CENTRAL_SIGNATURE = 0x02014b50;
const END_BYTES = 22;
const CENTRAL_BYTES = 46;
const LOCAL_BYTES = 30;
const MAX_COMMENT = 0xffff;

export interface ZipEntry {
  readonly name: string;
  readonly compressed: boolean;
  readonly crc: number;
  readonly compressedBytes: number;
  readonly bytes: number;
  readonly headerOffset: number;
}

async function readAt(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const chunk = Buffer.alloc(length);
  const { bytesRead } = await file.read(chunk, 0, length, offset);
  if (bytesRead !== length) throw new Error("zip file is cut short");
  return chunk;
}

export async function listZip(file: FileHandle): Promise<readonly ZipEntry[]> {
  const { size } = await file.stat();
  const tailBytes = Math.min(size, END_BYTES + MAX_COMMENT);
  const tail = await readAt(file, size - tailBytes, tailBytes);
  let at = tail.length - END_BYTES;
  while (at >= 0 && tail.readUInt32LE(at) !== END_SIGNATURE) at -= 1;
  if (at < 0) throw new Error("not a zip file: no end of central directory");
  const central = await readAt(file, tail.readUInt32LE(at + 16), tail.readUInt32LE(at + 12));
  return parseCentral(central, tail.readUInt16LE(at + 10));
}

function parseCentral(central: Buffer, count: number): readonly ZipEntry[] {
  const entries: ZipEntry[] = [];
  let at = 0;
  for (let index = 0; index < count; index += 1) {
    if (central.readUInt32LE(at) !== CENTRAL_SIGNATURE) throw new Error("zip central directory is damaged");
    const nameBytes = central.readUInt16LE(at + 28);
    const method = central.readUInt16LE(at + 10);
    const name = central.toString("utf8", at + CENTRAL_BYTES, at + CENTRAL_BYTES + nameBytes);
    if (method !== 0 && method !== 8) throw new Error(`zip entry ${name} uses method ${method}`);
    entries.push({
      name,
      compressed: method === 8,
      crc: central.readUInt32LE(at + 16),
      compressedBytes: central.readUInt32LE(at + 20),
      bytes: central.readUInt32LE(at + 24),
      headerOffset: central.readUInt32LE(at + 42),
    });
    at += CENTRAL_BYTES + nameBytes + central.readUInt16LE(at + 30) + central.readUInt16LE(at + 32);
  }
  return entries;
}

async function content(file: FileHandle, entry: ZipEntry): Promise<Buffer> {
  const local = await readAt(file, entry.headerOffset, LOCAL_BYTES);
  const start = entry.headerOffset + LOCAL_BYTES + local.readUInt16LE(26) + local.readUInt16LE(28);
  const raw = await readAt(file, start, entry.compressedBytes);
  const bytes = entry.compressed ? inflateRawSync(raw) : raw;
  if (bytes.length !== entry.bytes || crc32(bytes) !== entry.crc) throw new Error(`zip entry ${entry.name} is damaged`);
  return bytes;
}

/** Unpacks the chosen entries below `dir`; `place` gives an entry's path and mode, or undefined to leave it out. */
export async function unzip(
  zip: string,
  dir: string,
  place: (name: string) => { path: string; mode: number } | undefined,
): Promise<number> {
  const file = await open(zip);
  let written = 0;
  try {
    for (const entry of await listZip(file)) {
      const target = entry.name.endsWith("/") ? undefined : place(entry.name);
      if (target === undefined) continue;
      const path = normalize(join(dir, target.path));
      if (!path.startsWith(`${normalize(dir)}/`)) throw new Error(`zip entry ${entry.name} leaves its folder`);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, await content(file, entry), { mode: target.mode });
      written += 1;
    }
  } finally {
    await file.close();
  }
  return written;
}
