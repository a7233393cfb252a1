#!/usr/bin/env node
// Entry of the `isthmus` command, on whatever Node is installed: finds a Node that is new enough and runs the program on it.
// In a checkout that is cli/main.ts as it stands, in a package dist/cli/main.js. Plain old JavaScript, node:* only.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import module, { createRequire } from "node:module";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const NEEDED_MAJOR = 24;
/** By then a program that stays has loaded what it needs. */
const FLUSH_MS = 5000;
const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const source = join(root, "cli", "main.ts");
const entry = existsSync(source) ? source : join(root, "dist", "cli", "main.js");

function stop(line) {
  process.stderr.write(`${line}\n`);
  process.exit(1);
}

/** The Node that the package brings along (optionalDependencies), wherever npm has put it. */
function pinnedNode() {
  const name = `node-linux-${process.arch}`;
  try {
    const node = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), "bin", "node");
    return existsSync(node) ? node : undefined;
  } catch {
    return undefined; // another platform, or installed with --omit=optional
  }
}

/**
 * Compiled code, and TypeScript without its types, is kept between runs: a command starts in half the time, and one that stays needs
 * 10 MB less. In the user's own cache: whoever can write there can run code as this user anyway. Without a place nothing is kept.
 */
function keepCompiledCode() {
  const base = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  module.enableCompileCache?.(join(base, "isthmus", "compiled"));
  // Node writes it at the end of a program, which one that is killed never reaches
  setTimeout(() => module.flushCompileCache?.(), FLUSH_MS).unref();
}

function runOn(node) {
  const child = spawn(node, ["--disable-warning=ExperimentalWarning", entry, ...process.argv.slice(2)], {
    stdio: "inherit",
  });
  // Ctrl-C reaches the child by the terminal; a signal sent to this process alone is passed on
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  process.on("SIGINT", () => {});
  child.on("error", (error) => stop(`error ISTHMUS_NODE: cannot run ${node}; ${error.message}`));
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? (signal === "SIGINT" ? 130 : 1);
  });
}

if (!existsSync(entry)) {
  stop("error ISTHMUS_PACKAGE: the compiled program is missing; the package is incomplete; install isthmus again");
} else if (Number(process.versions.node.split(".")[0]) >= NEEDED_MAJOR) {
  try {
    keepCompiledCode();
    const { main } = await import(pathToFileURL(entry).href);
    await main(process.argv);
  } catch (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    stop("error ISTHMUS_PACKAGE: npm packages are missing; this checkout was never installed; run: npm ci");
  }
} else {
  const node = pinnedNode();
  if (node === undefined) {
    stop(
      `error ISTHMUS_NODE: Isthmus needs Node ${NEEDED_MAJOR} or newer and this is ${process.versions.node}; ` +
        "no newer one came with the package; install Node from nodejs.org",
    );
  } else runOn(node);
}
