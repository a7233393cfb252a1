// Builds the optional native module for the tests that need it (docs/decisions/0025): `npm ci --ignore-scripts` brings its source
// alone. Where it cannot be built (no C++ compiler, Node's headers out of reach) those tests are skipped, and say so.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";

/** Three seconds with a compiler; a machine that cannot reach Node's headers gives up later. */
const patienceMs = 120_000;

export function buildNativeModule(name: string, say: (line: string) => void): void {
  if (isBuilt(name)) return;
  const started = performance.now();
  say(`building ${name}, which is optional`);
  const args = ["rebuild", "--ignore-scripts=false", "--loglevel=error", name];
  spawnSync("npm", args, { stdio: "ignore", timeout: patienceMs });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (isBuilt(name)) say(`built in ${seconds} s`);
  else say(`not built after ${seconds} s: npm rebuild ${name} says why; the tests that need it are skipped`);
}

function isBuilt(name: string): boolean {
  const load = createRequire(import.meta.url);
  try {
    load(name);
    return true;
  } catch {
    return false; // not installed, or its source alone
  }
}
