// What the hub remembers of the cluster CAs that it has signed.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { ClusterName } from "../../shared/ids.ts";
import { openClusterCaBook } from "./cluster-ca-book.ts";

const [east, west] = ["east", "west"] as ClusterName[] as [ClusterName, ClusterName];
const roots = new Set(["1", "2"]);
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isthmus-book-"));
});
afterEach(() => rm(folder, { recursive: true }));

it("knows the last end of each name, also after a restart, and says nothing of other names", async () => {
  const book = await openClusterCaBook(folder);
  await book.note(east, { root: "1", notAfterMs: 900 }, 0);
  await book.note(east, { root: "1", notAfterMs: 500 }, 0);
  await book.note(west, { root: "1", notAfterMs: 700 }, 0);
  const again = await openClusterCaBook(folder);
  expect(again.trustedUntilMs(east, roots, 100)).toBe(900);
  expect(again.trustedUntilMs(west, roots, 100)).toBe(700);
  expect(again.trustedUntilMs("north" as ClusterName, roots, 100)).toBe(0);
});

it("counts none that has ended, and none below a root that is gone", async () => {
  const book = await openClusterCaBook(folder);
  await book.note(east, { root: "1", notAfterMs: 900 }, 0);
  await book.note(east, { root: "2", notAfterMs: 600 }, 0);
  expect(book.trustedUntilMs(east, new Set(["2"]), 100)).toBe(600);
  expect(book.trustedUntilMs(east, new Set(["3"]), 100)).toBe(0);
  expect(book.trustedUntilMs(east, roots, 900)).toBe(0);
});

it("loses nothing of what is noted at the same time", async () => {
  const book = await openClusterCaBook(folder);
  const names = Array.from({ length: 20 }, (_, index) => `c${index}` as ClusterName);
  await Promise.all(names.map((name) => book.note(name, { root: "1", notAfterMs: 900 }, 0)));
  const again = await openClusterCaBook(folder);
  expect(names.filter((name) => again.trustedUntilMs(name, roots, 1) !== 900)).toEqual([]);
});

it.each(["no JSON", '{"east":[{"root":1}]}', '{"east":3}'])("does not start on a damaged file: %s", async (text) => {
  await writeFile(join(folder, "cluster-cas.json"), text, { mode: 0o600 });
  await expect(openClusterCaBook(folder)).rejects.toMatchObject({ code: "ISTHMUS_DATA" });
});
