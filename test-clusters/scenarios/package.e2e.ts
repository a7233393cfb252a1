// The npm package as a user gets it: packed from this checkout, installed into an empty prefix, run from there.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { helmPath, parseManifests } from "../../deploy/testing/helm.ts";
import { checkoutRoot } from "../../shared/tooling/pack.ts";

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(program: string, args: readonly string[], cwd = checkoutRoot): Outcome {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
  return { status, stdout, stderr };
}

describe("the npm package", () => {
  let folder = "";
  let installed = "";
  const isthmus = (...args: readonly string[]) =>
    run(join(folder, "prefix", "node_modules", ".bin", "isthmus"), args, folder);

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "isthmus-package-"));
    const packed = run("npm", ["pack", "--silent", "--pack-destination", folder]);
    expect(packed, packed.stderr).toMatchObject({ status: 0 });
    const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"));
    const quiet = ["--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts"];
    const prefix = join(folder, "prefix");
    const done = run("npm", ["install", "--prefix", prefix, ...quiet, join(folder, tarball ?? "")], folder);
    expect(done, done.stderr).toMatchObject({ status: 0 });
    installed = join(prefix, "node_modules", "isthmus");
  }, 300_000);

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("runs as `isthmus`, on a Node that is new enough whatever the machine has", () => {
    const { status, stdout } = isthmus("version", "-o", "json");
    expect(status).toBe(0);
    const answer = JSON.parse(stdout) as { version: string; node: string };
    expect(Number(answer.node.split(".")[0])).toBeGreaterThanOrEqual(24);
    expect(answer.version).toBe("0.1.0");
  });

  test("holds JavaScript only: Node refuses to strip types where packages are installed", () => {
    const files = readdirSync(installed, { recursive: true }).map(String);
    const own = files.filter((file) => !file.includes("node_modules"));
    expect(own.filter((file) => file.endsWith(".ts"))).toEqual([]);
    expect(own.filter((file) => /testing|\.test\.|test-clusters/.test(file))).toEqual([]);
    expect(own).toContain(join("dist", "shared", "proto", "fleet.proto"));
  });

  test("makes a fleet in an empty folder, and says what to do next", () => {
    const made = isthmus("init", "acme.mesh", "--data", join(folder, "data"));
    expect(made, made.stderr).toMatchObject({ status: 0 });
    expect(made.stdout + made.stderr).toContain("isthmus hub");
    expect(existsSync(join(folder, "data", "fleet.json"))).toBe(true);
  });

  test("brings the charts that it installs from, CRDs included", async () => {
    const chart = join(installed, "dist", "deploy", "charts", "agent");
    const fixed = ["--namespace", "isthmus-system", "--kube-version", "1.34.0", "--include-crds"];
    const rendered = run(await helmPath(), ["template", "isthmus", chart, ...fixed], folder);
    expect(rendered, rendered.stderr).toMatchObject({ status: 0 });
    const kinds = parseManifests(rendered.stdout).map(({ kind }) => kind);
    const written = readdirSync(join(checkoutRoot, "deploy", "charts", "agent", "crds"));
    expect(kinds.filter((kind) => kind === "CustomResourceDefinition")).toHaveLength(written.length);
    expect(kinds).toContain("Deployment");
  });

  test("answers a mistake with one line that has a code, and a status that is not 0", () => {
    const refused = isthmus("join", "--token-file", join(folder, "missing"), "--context", "east");
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain("ISTHMUS_TOKEN_FILE");
  });
});
