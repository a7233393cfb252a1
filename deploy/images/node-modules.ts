// The npm packages that run in the image: the production closure of the lock file, without what only a compiler or a
// reader uses. A smaller layer is unpacked sooner on every node, and the start of a cluster waits for that.
import { mkdir, readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { placeFile } from "./placed-file.ts";

interface LockPackage {
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly devOptional?: boolean;
}

/** Folders of the packages to ship, relative to the checkout, parents before children. */
export function productionPackages(lockFile: string): readonly string[] {
  const { packages } = JSON.parse(lockFile) as { packages: Record<string, LockPackage> };
  return Object.entries(packages)
    .filter(([path, entry]) => path !== "" && !entry.dev && !entry.devOptional && !entry.optional)
    .map(([path]) => path)
    .filter((path) => !path.includes("/@types/"))
    .sort();
}

/** Types, source maps, sources of compiled packages, tests and manuals; licences stay. */
const unneeded =
  /\.(d\.[cm]?ts|map|ts|mts|cts|md|markdown|flow|html|yml)$|(^|\/)(test|tests|__tests__|example|examples|benchmark|\.github)\//i;
const licence = /(^|\/)(licen[cs]e|copying|notice)[^/]*$/i;

/** From @grpc/grpc-js-xds only the .proto files are used: its own JavaScript and dependencies stay behind. */
const protoPackage = "node_modules/@grpc/grpc-js-xds";

/** Native parts for another JavaScript runtime (Bare), for twenty platforms: 6 MB that Node never loads. */
const barePackage = /^node_modules\/bare-[^/]+$/;

export function isShipped(packagePath: string, file: string): boolean {
  if (barePackage.test(packagePath) && file.startsWith("prebuilds/")) return false;
  if (packagePath === protoPackage)
    return /^deps\/.*\.proto$/.test(file) || file === "package.json" || licence.test(file);
  return licence.test(file) || !unneeded.test(file);
}

/** Hard-links the shipped files below `target`: 50 MB in 4,000 files are not worth a copy. */
export async function linkProductionModules(root: string, target: string): Promise<void> {
  const packages = productionPackages(await readFile(join(root, "package-lock.json"), "utf8"));
  for (const packagePath of packages) {
    if (packagePath.startsWith(`${protoPackage}/`)) continue;
    for (const file of await packageFiles(join(root, packagePath))) {
      if (!isShipped(packagePath, file)) continue;
      const to = join(target, packagePath.slice("node_modules/".length), file);
      await mkdir(dirname(to), { recursive: true });
      await placeFile(join(root, packagePath, file), to);
    }
  }
}

/** Files of one package, without the packages nested in it: those are entries of the lock file themselves. */
async function packageFiles(folder: string, below = ""): Promise<string[]> {
  const files: string[] = [];
  for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory() && entry.name !== "node_modules") files.push(...(await packageFiles(folder, path)));
    else if (entry.isFile()) files.push(path);
  }
  return files;
}
