import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32, deflateRawSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { unzip } from "./zip.ts";

let dir = "";
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), "isthmus-zip-"))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

interface Entry {
  readonly name: string;
  readonly content: string;
  readonly stored?: boolean;
  readonly wrongCrc?: boolean;
}

/** A zip file made by hand, so that the reader is not tested against itself. */
function zip(entries: readonly Entry[]): string {
  const local: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const name = Buffer.from(entry.name);
    const raw = Buffer.from(entry.content);
    const data = entry.stored ? raw : deflateRawSync(raw);
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(entry.stored ? 0 : 8, 4);
    fields.writeUInt32LE(entry.wrongCrc ? 1 : crc32(raw), 10);
    fields.writeUInt32LE(data.length, 14);
    fields.writeUInt32LE(raw.length, 18);
    fields.writeUInt16LE(name.length, 22);
    local.push(Buffer.from("PK\x03\x04"), fields, name, data);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(offset, 10);
    central.push(Buffer.from("PK\x01\x02\x14\x00"), fields, tail, name);
    offset += 30 + name.length + data.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(entries.length, 4);
  end.writeUInt16LE(entries.length, 6);
  end.writeUInt32LE(directory.length, 8);
  end.writeUInt32LE(offset, 12);
  const file = join(dir, "a.zip");
  writeFileSync(file, Buffer.concat([...local, directory, Buffer.from("PK\x05\x06"), end]));
  return file;
}

const all = (name: string) => ({ path: name, mode: 0o755 });

describe("unzip", () => {
  it("unpacks the chosen entries, stored and deflated, with their modes", async () => {
    const file = zip([
      { name: "bin/", content: "", stored: true },
      { name: "bin/a", content: "x".repeat(5000) },
      { name: "b", content: "plain", stored: true },
      { name: "left-out", content: "no" },
      { name: "empty", content: "", stored: true },
    ]);
    const out = join(dir, "out");
    expect(await unzip(file, out, (name) => (name === "left-out" ? undefined : all(name)))).toBe(3);
    expect(readFileSync(join(out, "bin/a"), "utf8")).toBe("x".repeat(5000));
    expect(readFileSync(join(out, "b"), "utf8")).toBe("plain");
    expect(statSync(join(out, "bin/a")).mode & 0o777).toBe(0o755);
  });

  it.each([
    {
      name: "an entry whose checksum is wrong",
      entry: { name: "a", content: "hello", wrongCrc: true },
      says: "damaged",
    },
    { name: "an entry that leaves the folder", entry: { name: "../a", content: "hello" }, says: "leaves its folder" },
  ])("refuses $name", async ({ entry, says }) => {
    await expect(unzip(zip([entry]), join(dir, "out"), all)).rejects.toThrow(says);
  });

  it("refuses a file that is no zip", async () => {
    writeFileSync(join(dir, "x"), "certainly not a zip file, but long enough to look for one");
    await expect(unzip(join(dir, "x"), dir, all)).rejects.toThrow("not a zip file");
  });
});
