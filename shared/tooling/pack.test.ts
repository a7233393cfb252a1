import { mkdtempSync, rmSync } from "node:fs";
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { compile, compileModule, shippedFiles } from "./pack.ts";

describe("one module", () => {
  test("loses its types and names compiled neighbours", () => {
    const source = 'import { a } from "./a.ts";\nimport type { B } from "./b.ts";\nexport const c: number = a as B;\n';
    expect(compileModule("c.ts", source)).toBe('import { a } from "./a.js";\nexport const c = a;\n');
  });

  test("finds a worker that it names by URL", () => {
    const source = 'new Worker(new URL("./sign-worker.ts", import.meta.url));\n';
    expect(compileModule("w.ts", source)).toContain('new URL("./sign-worker.js", import.meta.url)');
  });

  test("with a syntax error stops the build and names the file", () => {
    expect(() => compileModule("broken.ts", "const = 1;")).toThrow(/broken\.ts/);
  });
});

describe("the compiled folder", () => {
  let root = "";
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "isthmus-pack-"));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const write = async (path: string, text: string) => {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  };
  const build = () => compile(root, join(root, "dist"), join(root, "state.json"));

  beforeEach(async () => {
    await write("package.json", "{}");
    await write("hub/main.ts", "export const a: number = 1;\n");
    await write("hub/store/lua/commit.lua", "return 1\n");
    await write("hub/main.test.ts", "throw new Error();\n");
    await write("agent/ir/testing/fake.ts", "export const b = 2;\n");
    await write("shared/tooling/check.ts", "export const c = 3;\n");
    await write("deploy/images.ts", "export const d = 4;\n");
  });

  test("holds what ships, and neither tests nor tools", async () => {
    expect(await shippedFiles(root)).toEqual(["hub/main.ts", "hub/store/lua/commit.lua", "package.json"]);
    await build();
    expect(await readFile(join(root, "dist/hub/main.js"), "utf8")).toBe("export const a = 1;\n");
    expect(await readFile(join(root, "dist/hub/store/lua/commit.lua"), "utf8")).toBe("return 1\n");
  });

  test("is written again only where a source changed", async () => {
    expect(await build()).toEqual({ compiled: 3, kept: 0 });
    expect(await build()).toEqual({ compiled: 0, kept: 3 });
    await write("hub/main.ts", "export const a: number = 2;\n");
    expect(await build()).toEqual({ compiled: 1, kept: 2 });
  });

  test("loses what has no source any more, and mends what somebody removed", async () => {
    await build();
    await rm(join(root, "hub/main.ts"));
    await rm(join(root, "dist/package.json"));
    expect(await build()).toEqual({ compiled: 1, kept: 1 });
    await expect(stat(join(root, "dist/hub/main.js"))).rejects.toThrow(/ENOENT/);
  });
});
