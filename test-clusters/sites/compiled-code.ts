// The code that a run's programs load, compiled before they start. A checkout is TypeScript, and a process that takes the types off
// by itself keeps the compiler for it, some 25 MB: the first demo of a checkout held a quarter more memory than every later one. One
// process that loads everything once and ends leaves it to all others in Node's compile cache (NODE_COMPILE_CACHE).
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, rm, symlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { cacheRoot } from "../../shared/programs/cache.ts";
import { runCommand } from "../machine/command.ts";

const root = new URL("../../", import.meta.url);
/** Beside the folder of a checkout's compiled code: a link to the checkout. */
const ofCheckout = ".checkout";

/** What each program of a run loads from its start to its end: its entry, and what it imports once it knows that it needs it. */
export const loadedBy = {
  run: ["cli/main.ts", "cli/commands/run.ts", "agent/xds/bound-proxy.ts", "shared/programs/envoy.ts"],
  site: [
    "cli/main.ts",
    "cli/commands/site.ts",
    "agent/site/site-config.ts",
    "agent/site-agent.ts",
    "agent/xds/bound-proxy.ts",
    "shared/programs/envoy.ts",
    "shared/pki/signing-worker.ts",
  ],
  hub: ["cli/main.ts", "cli/commands/hub.ts", "hub/config.ts", "hub/main.ts", "shared/pki/signing-worker.ts"],
  init: ["cli/commands/init.ts", "hub/hub-file.ts", "hub/ca/new-fleet.ts", "hub/ca/issuers-file.ts"],
  token: ["cli/commands/token.ts"],
  shop: ["deploy/shop/main.ts"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type LoadingProgram = keyof typeof loadedBy;

/** `file:` URLs for `import()`. */
export function modulesOf(...programs: readonly LoadingProgram[]): readonly string[] {
  return [...new Set(programs.flatMap((program) => loadedBy[program]))].map((path) => new URL(path, root).href);
}

const loadAll = "await Promise.all(process.argv.slice(1).map((module) => import(module))); process.exit()";

/** Of one checkout: Node finds what it compiled by the file's path, so no other could use it. */
export function compiledFolder(cache = cacheRoot()): string {
  return join(cache, "compiled", createHash("sha256").update(root.href).digest("hex").slice(0, 12));
}

/** Costs a third of a second when nothing is new. */
export async function compileAhead(env: NodeJS.ProcessEnv): Promise<void> {
  await noteCheckout();
  const node = ["--disable-warning=ExperimentalWarning", "--input-type=module", "--eval", loadAll];
  await runCommand(process.execPath, [...node, ...modulesOf("run", "site", "hub", "init", "token", "shop")], { env });
}

/** Forgets the checkouts that are gone: a machine that tests clone after clone would keep some 20 MB of each. */
export async function noteCheckout(cache = cacheRoot()): Promise<void> {
  const own = compiledFolder(cache);
  const all = dirname(own);
  await mkdir(all, { recursive: true });
  // before the folder is there; runs beside this one never see half of a link
  await symlink(fileURLToPath(root), `${own}${ofCheckout}`).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  });
  for (const name of await readdir(all)) {
    const folder = join(all, basename(name, ofCheckout));
    if (existsSync(`${folder}${ofCheckout}`)) continue; // which follows the link
    await rm(folder, { recursive: true, force: true });
    await rm(`${folder}${ofCheckout}`, { force: true });
  }
}
