// Compiles what ships to dist/: Node strips types from .ts files, but never under node_modules, where an installed
// package lives. Called by `npm pack` (prepack) and by the image build. Types are not checked here: `npm run check` does.
// dist/ keeps the layout of the checkout, so a path relative to a module (a .proto, a .lua, a chart) holds in both.
import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const shippedFolders = ["hub", "agent", "shared", "cli", "deploy/charts", "deploy/shop"];
const leftOut = /(^|\/)(testing|testdata|tooling)(\/|$)|\.test\.ts$|\.md$|^cli\/[^/]*\.js$/;

export const checkoutRoot = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** Everything that ships, as paths relative to the checkout, sorted. */
export async function shippedFiles(root: string): Promise<readonly string[]> {
  const found = await Promise.all(shippedFolders.map((folder) => filesBelow(root, folder)));
  return ["package.json", ...found.flat()].sort();
}

/** Plain JavaScript that starts the program on the right Node; it stays outside of dist/ because `bin` names it. */
export async function entryFiles(root: string): Promise<readonly string[]> {
  const names = await readdir(join(root, "cli"));
  return names.filter((name) => name.endsWith(".js")).map((name) => `cli/${name}`);
}

async function filesBelow(root: string, folder: string): Promise<string[]> {
  const entries = await readdir(join(root, folder), { withFileTypes: true, recursive: true }).catch(ignoreMissing);
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !leftOut.test(path));
}

function ignoreMissing(error: unknown): [] {
  if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
  throw error;
}

export function compiledName(path: string): string {
  return path.endsWith(".ts") ? `${path.slice(0, -3)}.js` : path;
}

const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2024,
  module: ts.ModuleKind.ESNext,
  verbatimModuleSyntax: true,
  isolatedModules: true,
  rewriteRelativeImportExtensions: true,
};

/** One module as JavaScript. Throws on a syntax error, naming the line. */
export function compileModule(path: string, source: string): string {
  const { outputText, diagnostics = [] } = ts.transpileModule(source, {
    fileName: path,
    compilerOptions: options,
    reportDiagnostics: true,
  });
  const [first] = diagnostics;
  if (first !== undefined) throw new Error(`${path}: ${ts.flattenDiagnosticMessageText(first.messageText, " ")}`);
  // a worker or a child module is named by URL, which the compiler does not see as an import
  return outputText.replace(/(new URL\(["']\.[^"']*)\.ts(["'], import\.meta\.url\))/g, "$1.js$2");
}

export interface CompileResult {
  readonly compiled: number;
  readonly kept: number;
}

interface CompileState {
  /** This file and the compiler: other ones may write otherwise, and everything is compiled anew. */
  readonly compiler: string;
  /** Written path to the digest of its source. */
  readonly files: Readonly<Record<string, string>>;
}

/**
 * Brings `outDir` up to date: only files whose content changed are written, files whose source is gone are removed.
 * `statePath` remembers what was written; it lies outside of `outDir`, which ships.
 */
export async function compile(root: string, outDir: string, statePath: string): Promise<CompileResult> {
  const compiler = `${ts.version} ${await digestOfFile(fileURLToPath(import.meta.url))}`;
  const before = await readState(statePath, compiler);
  if (before === undefined) await rm(outDir, { recursive: true, force: true });
  const files: Record<string, string> = {};
  let compiled = 0;
  for (const path of await shippedFiles(root)) {
    const digest = await digestOfFile(join(root, path));
    const target = compiledName(path);
    files[target] = digest;
    if (before?.files[target] === digest && (await exists(join(outDir, target)))) continue;
    compiled += 1;
    await writeShipped(join(root, path), join(outDir, target));
  }
  for (const gone of Object.keys(before?.files ?? {}).filter((target) => files[target] === undefined)) {
    await rm(join(outDir, gone), { force: true });
  }
  await mkdir(dirname(statePath), { recursive: true });
  await writeFile(statePath, JSON.stringify({ compiler, files } satisfies CompileState));
  return { compiled, kept: Object.keys(files).length - compiled };
}

async function writeShipped(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  if (from.endsWith(".ts")) await writeFile(to, compileModule(from, await readFile(from, "utf8")));
  else await cp(from, to);
}

async function readState(path: string, compiler: string): Promise<CompileState | undefined> {
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const state = JSON.parse(text) as CompileState;
  return state.compiler === compiler ? state : undefined;
}

async function digestOfFile(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

if (import.meta.main) {
  const { compiled, kept } = await compile(
    checkoutRoot,
    join(checkoutRoot, "dist"),
    join(checkoutRoot, ".cache", "pack.json"),
  );
  process.stderr.write(`dist: ${compiled} files compiled, ${kept} unchanged\n`);
}
