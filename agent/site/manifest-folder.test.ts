import { mkdtempSync, rmSync } from "node:fs";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { systemClock } from "../../shared/clock.ts";
import { jsonLog } from "../../shared/log.ts";
import { openManifestFolder } from "./manifest-folder.ts";

const home = mkdtempSync(join(tmpdir(), "isthmus-folder-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

const manifest = (name: string) => `{ apiVersion: v1, kind: Namespace, metadata: { name: ${name} } }\n`;

test("a folder that goes away while it is read withdraws nothing of it", async () => {
  const [path, away] = [join(home, "manifests"), join(home, "away")];
  await mkdir(path);
  const names = Array.from({ length: 20 }, (_, index) => `shop-${index}`);
  for (const name of names) await writeFile(join(path, `${name}.yaml`), manifest(name));
  const log = jsonLog("error", () => undefined);
  const options = { path, prefix: "", onEvent: () => undefined, goodTexts: {}, clock: systemClock, log };
  const folder = openManifestFolder(options);
  await folder.read();
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
