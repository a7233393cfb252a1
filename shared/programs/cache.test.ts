import { existsSync, mkdtempSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { silentProgress } from "../progress.ts";
import { cached, cacheRoot } from "./cache.ts";

let dir = "";
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), "isthmus-cache-"))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const entries = () => readdirSync(dir).filter((name) => !name.endsWith(".lock"));

describe("the cache", () => {
  it("lies in the user's cache folder", () => {
    expect(cacheRoot({ XDG_CACHE_HOME: "/somewhere" })).toBe("/somewhere/isthmus");
    expect(cacheRoot({})).toMatch(/\/\.cache\/isthmus$/);
  });

  it("builds an entry once, for two builders side by side too", async () => {
    let builds = 0;
    const fill = (folder: string) => {
      builds += 1;
      writeFileSync(join(folder, "program"), String(builds));
      return Promise.resolve();
    };
    const path = join(dir, "tool-v1-amd64");
    await Promise.all([cached(path, silentProgress, fill), cached(path, silentProgress, fill)]);
    await cached(path, silentProgress, fill);
    expect(builds).toBe(1);
    expect(readFileSync(join(path, "program"), "utf8")).toBe("1");
  });

  it("keeps nothing of a build that failed, and the next one can succeed", async () => {
    const path = join(dir, "tool-v1-amd64");
    const fail = () => Promise.reject(new Error("no compiler"));
    await expect(cached(path, silentProgress, fail)).rejects.toThrow("no compiler");
    expect(entries()).toEqual([]);
    await cached(path, silentProgress, () => Promise.resolve());
    expect(existsSync(path)).toBe(true);
  });

  it("removes what a killed builder has left", async () => {
    mkdirSync(join(dir, "tool-v1-amd64.tmp-12345"));
    await cached(join(dir, "tool-v1-amd64"), silentProgress, () => Promise.resolve());
    expect(entries()).toEqual(["tool-v1-amd64"]);
  });
});
