import { mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import process from "node:process";
import { beforeAll, describe, expect, test } from "vitest";
import { runCommand } from "../machine/command.ts";
import { compiledFolder, modulesOf, noteCheckout, type LoadingProgram } from "./compiled-code.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
/** Types are taken off hundreds of files. */
const SLOWEST_MS = 120_000;
const program = `
  import { registerHooks } from "node:module";
  const loaded = [];
  registerHooks({ load: (url, context, next) => { loaded.push(url); return next(url, context); } });
  for (const module of process.argv.slice(1)) await import(module);
  console.log(JSON.stringify(loaded));
  process.exit();
`;

interface Loaded {
  /** npm packages. */
  readonly packages: readonly string[];
  /** Below the checkout. */
  readonly files: readonly string[];
}

async function loaded(name: LoadingProgram): Promise<Loaded> {
  const node = ["--disable-warning=ExperimentalWarning", "--input-type=module", "--eval", program];
  const said = await runCommand(process.execPath, [...node, ...modulesOf(name)], { env: process.env });
  const paths = (JSON.parse(said) as readonly string[])
    .filter((url) => url.startsWith("file:"))
    .map((url) => fileURLToPath(url).slice(root.length));
  const packages = paths.flatMap(
    (path) => /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules)/.exec(path)?.[1] ?? [],
  );
  return {
    packages: [...new Set(packages)].sort(),
    files: [...new Set(paths.filter((path) => !path.startsWith("node_modules/")))].sort(),
  };
}

describe("isthmus run, which lives beside every workload,", () => {
  let run: Loaded;
  beforeAll(async () => {
    run = await loaded("run");
  }, SLOWEST_MS);

  test("loads one package, which reads its command line", () => {
    expect(run.packages).toEqual(["commander"]);
  });

  test("loads of the agent what a sidecar's first configuration is made of, and nothing that listens or signs", () => {
    const folders = new Set(run.files.map((path) => path.split("/").slice(0, 2).join("/")));
    expect([...folders].filter((folder) => folder.startsWith("agent/")).sort()).toEqual([
      "agent/ir",
      "agent/site",
      "agent/xds",
    ]);
    expect(run.files.filter((path) => /^(hub|shared\/(pki|grpc|wire))\//.test(path))).toEqual([]);
  });
});

describe("a site", () => {
  let site: Loaded;
  beforeAll(async () => {
    site = await loaded("site");
  }, SLOWEST_MS);

  test("never loads the Kubernetes client, nor anything of the agent's that speaks to an API server", () => {
    expect(site.packages.filter((name) => name.startsWith("@kubernetes/"))).toEqual([]);
    expect(site.files.filter((path) => /^agent\/(inject|kube\/(?!parse\/|json\.ts))/.test(path))).toEqual([]);
  });

  test("loads no part of the hub", () => {
    expect(site.files.filter((path) => path.startsWith("hub/"))).toEqual([]);
    expect(site.packages).not.toContain("ioredis");
  });
});

test("compiled code goes with its checkout", async () => {
  const cache = await mkdtemp(join(tmpdir(), "isthmus-compiled-"));
  try {
    const own = compiledFolder(cache);
    for (const name of [own, join(cache, "compiled/gone"), join(cache, "compiled/of-nobody")])
      await mkdir(name, { recursive: true });
    await symlink(join(cache, "no-such-checkout"), join(cache, "compiled/gone.checkout"));
    await noteCheckout(cache);
    await noteCheckout(cache); // as every run does
    expect((await readdir(join(cache, "compiled"))).sort()).toEqual([basename(own), `${basename(own)}.checkout`]);
  } finally {
    await rm(cache, { recursive: true });
  }
});
