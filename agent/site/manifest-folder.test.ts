import { mkdtempSync, rmSync } from "node:fs";
import { mkdir, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { systemClock } from "../../shared/clock.ts";
import { jsonLog } from "../../shared/log.ts";
import { openManifestFolder } from "./manifest-folder.ts";

const home = mkdtempSync(join(tmpdir(), "isthmus-folder-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

const manifest = (name: string) => `{ apiVersion: v1, kind: Namespace, metadata: { name: ${name} } }\n`;

const names = Array.from({ length: 20 }, (_, index) => `shop-${index}`);

/** A folder with a manifest for each of the names, read once. */
async function readFolder(path: string, withdrawAfterMs = 60_000) {
  await mkdir(path);
  for (const name of names) await writeFile(join(path, `${name}.yaml`), manifest(name));
  const log = jsonLog("error", () => undefined);
  const onEvent = vi.fn();
  const options = { path, prefix: "", withdrawAfterMs, onEvent, goodTexts: {}, clock: systemClock, log };
  const folder = openManifestFolder(options);
  await folder.read();
  return { folder, onEvent };
}

test("a folder that goes away while it is read withdraws nothing of it", async () => {
  const [path, away] = [join(home, "manifests"), join(home, "away")];
  const { folder } = await readFolder(path);
  for (let round = 0; round < 100; round += 1) {
    const reading = folder.read();
    // each round a little later in the reading
    for (let turn = 0; turn < round; turn += 1) await Promise.resolve();
    await rename(path, away);
    await reading;
    expect(folder.files()).toHaveLength(names.length);
    await rename(away, path);
    await folder.read();
    expect(folder.problems()).toEqual([]);
  }
  folder.close();
});

test("a folder that is removed file by file, and is looked at after each of them, withdraws nothing", async () => {
  const path = join(home, "removed");
  const { folder } = await readFolder(path);
  for (const name of names) {
    await rm(join(path, `${name}.yaml`));
    await folder.read();
    expect(folder.files()).toHaveLength(names.length);
  }
  await rmdir(path);
  await folder.read();
  expect(folder.files()).toHaveLength(names.length);
  expect(folder.problems()).toMatchObject([{ code: "ISTHMUS_MANIFESTS_FROZEN" }]);

  // and filled again, which takes its time too
  await mkdir(path);
  await folder.read();
  expect(folder.files()).toHaveLength(names.length);
  folder.close();
});

test("a file that is gone from its folder is withdrawn, and its folder says when to look", async () => {
  const path = join(home, "less");
  const { folder, onEvent } = await readFolder(path, 50);
  await rm(join(path, "shop-0.yaml"));
  await folder.read();
  expect(folder.files()).toHaveLength(names.length);
  await vi.waitFor(async () => {
    const calls = onEvent.mock.calls.length;
    await folder.read();
    expect([folder.files().length, calls > 0]).toEqual([names.length - 1, true]);
  }, 10_000);
  folder.close();
});

test("a file that is removed and written anew is never gone", async () => {
  const path = join(home, "anew");
  const { folder } = await readFolder(path);
  for (const name of names) {
    await rm(join(path, `${name}.yaml`));
    await folder.read();
    await writeFile(join(path, `${name}.yaml`), manifest("anew"));
    await folder.read();
    expect(folder.files()).toHaveLength(names.length);
  }
  folder.close();
});
