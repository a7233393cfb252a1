import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { checkoutRoot } from "../../shared/tooling/pack.ts";
import { contentKeys } from "./content-key.ts";

describe("the name of an image's content", () => {
  let root = "";
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "isthmus-key-"));
    for (const path of ["deploy", "cli", "shared", "package.json", "package-lock.json"]) {
      cpSync(join(checkoutRoot, path), join(root, path), { recursive: true });
    }
  });
  afterEach(() => rmSync(root, { recursive: true }));
  const write = (path: string) => writeFileSync(join(root, path), "changed");
  const keys = () => contentKeys(root, "amd64");

  test("stays when nothing changed, and is another one for the other architecture", async () => {
    expect(await keys()).toEqual(await keys());
    expect((await contentKeys(root, "arm64")).images.envoy).not.toBe((await keys()).images.envoy);
  });

  test.each([
    ["a source file", "shared/ids.ts", { image: true, stage: false, envoy: false }],
    ["a test", "shared/new.test.ts", { image: false, stage: false, envoy: false }],
    ["the lock file", "package-lock.json", { image: true, stage: true, envoy: false }],
    ["the Dockerfile", "deploy/Dockerfile", { image: true, stage: true, envoy: true }],
    ["how the images are stored", "deploy/images/builder.ts", { image: false, stage: false, envoy: false }],
  ])("answers to a change of %s", async (_name, path, changed) => {
    const before = await keys();
    write(path);
    const after = await keys();
    expect({
      image: after.images.isthmus !== before.images.isthmus,
      stage: after.stages.isthmus !== before.stages.isthmus,
      envoy: after.images.envoy !== before.images.envoy,
    }).toEqual(changed);
  });
});
