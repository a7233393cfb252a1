import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkoutRoot, compile } from "../../shared/tooling/pack.ts";
import { bundle } from "./bundle.ts";

let root: string;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "isthmus-bundle-"));
  await compile(checkoutRoot, join(root, "dist"), join(root, "compile.json"));
  symlinkSync(join(checkoutRoot, "node_modules"), join(root, "node_modules"));
  await bundle(root, "dist/agent/main.js", "agent/main.js");
}, 60_000);
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe("the agent as one file", () => {
  test("starts: it finds the files that lie beside its modules, and says what its configuration lacks", () => {
    const { status, stderr } = spawnSync(process.execPath, [join(root, "agent/main.js")], {
      encoding: "utf8",
      env: {},
    });
    expect(stderr).toMatch(/^error ISTHMUS_CONFIG: POD_NAME missing/);
    expect(status).toBe(1);
  });
});
