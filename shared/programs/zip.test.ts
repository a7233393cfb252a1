import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { zipBytes, type ZipFileEntry } from "./testing/zip-file.ts";
import { unzip } from "./zip.ts";

let dir = "";
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), "isthmus-zip-"))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function zip(entries: readonly ZipFileEntry[]): string {
  const file = join(dir, "a.zip");
  writeFileSync(file, zipBytes(entries));
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
