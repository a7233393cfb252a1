// Turns the context into archives that containerd imports: with Docker where its daemon answers, else with buildah,
// which needs root but no daemon and no registry. Both read the one Dockerfile.
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { UserError } from "../../shared/errors.ts";
import type { Architecture } from "./architecture.ts";
import { hostArchitecture } from "./architecture.ts";
import { findProgram, runCommand, succeeds } from "./command.ts";
import type { ImageTarget } from "./content-key.ts";
import { fetchDebs, makeBaseRoot } from "./debian.ts";
import { readLayout, withLayer, writeArchive } from "./oci-layout.ts";
import type { Progress } from "./progress.ts";

export interface BuildRequest {
  readonly target: ImageTarget;
  /** Full name with tag. */
  readonly name: string;
  /** Names the content of the Dockerfile stage below the image. */
  readonly stageKey: string;
  readonly architecture: Architecture;
  readonly context: string;
  /** Written whole or not at all. */
  readonly archive: string;
}

export interface Builder {
  readonly kind: "docker" | "buildah";
  build(request: BuildRequest): Promise<void>;
}

export interface BuilderPlace {
  readonly cache: string;
  readonly debs: (architecture: Architecture) => string;
  readonly progress: Progress;
}

export async function chooseBuilder(place: BuilderPlace): Promise<Builder> {
  if (await succeeds(["docker", "info"])) return { kind: "docker", build: (request) => buildWithDocker(request) };
  if (process.platform !== "linux") {
    throw new UserError(
      "ISTHMUS_IMAGES_PLATFORM",
      `images are built with Docker on ${process.platform}, and its daemon does not answer`,
      {
        hint: "start Docker, or run this on Linux as root",
      },
    );
  }
  if (process.getuid?.() !== 0) {
    throw new UserError(
      "ISTHMUS_NOT_ROOT",
      "building images without a Docker daemon needs root (debootstrap and buildah)",
      {
        hint: "run it as root, or start Docker",
      },
    );
  }
  const needed = ["buildah", "debootstrap"];
  const missing: string[] = [];
  for (const tool of needed) if ((await findProgram(tool)) === undefined) missing.push(tool);
  if (missing.length > 0) {
    throw new UserError("ISTHMUS_TOOLS_MISSING", `missing: ${missing.join(", ")}`, {
      hint: `apt-get install -y ${missing.join(" ")}`,
    });
  }
  return { kind: "buildah", build: (request) => buildWithBuildah(place, request) };
}

async function buildWithDocker({ target, name, architecture, context, archive }: BuildRequest): Promise<void> {
  const platform = `linux/${architecture}`;
  await runCommand(
    [
      "docker",
      "build",
      "--platform",
      platform,
      "--target",
      target,
      "--build-arg",
      `TARGETARCH=${architecture}`,
      "-t",
      name,
      context,
    ],
    { env: { DOCKER_BUILDKIT: "1" } },
  );
  await runCommand(["docker", "save", "-o", `${archive}.part`, name]);
  await rename(`${archive}.part`, archive);
}

const baseName = "docker.io/library/debian:bookworm-slim";

/**
 * A mount namespace of its own: buildah mounts its storage folder on itself and layers below it, and whatever ends the
 * build, nothing of that may stay behind.
 */
function buildah(cache: string, architecture: Architecture, ...args: readonly string[]): Promise<string> {
  const storage = join(cache, `storage-${architecture}`);
  const global = ["--root", join(storage, "root"), "--runroot", join(storage, "run"), "--storage-driver", "overlay"];
  return runCommand(["unshare", "--mount", "--propagation", "private", "buildah", ...global, ...args], {
    env: { BUILDAH_ISOLATION: "chroot", TMPDIR: cache },
  });
}

async function buildWithBuildah(place: BuilderPlace, request: BuildRequest): Promise<void> {
  const stage = await readLayout(await stageLayout(place, request));
  const image = request.target === "isthmus" ? await withLayer(stage, join(request.context, "app")) : stage;
  await writeArchive(image, request.name, request.archive);
}

/** The stage below the image as an OCI layout, built when its key is new. */
async function stageLayout(place: BuilderPlace, request: BuildRequest): Promise<string> {
  const { target, architecture, context, stageKey } = request;
  const layouts = join(place.cache, "layouts");
  const layout = join(layouts, `${target}-${architecture}-${stageKey}`);
  if (await exists(layout)) return layout;
  await ensureBase(place, architecture);
  const stage = target === "isthmus" ? "runtime" : target;
  const name = `isthmus.local/${stage}:${stageKey}`;
  place.progress(`building stage ${stage}`);
  const build = ["bud", "--quiet", "--layers", "--pull-never", "--arch", architecture, "--target", stage];
  const inputs = ["--build-arg", `TARGETARCH=${architecture}`, "-t", name, "-f", join(context, "Dockerfile"), context];
  await buildah(place.cache, architecture, ...build, ...inputs);
  await rm(`${layout}.part`, { recursive: true, force: true });
  await mkdir(layouts, { recursive: true });
  await buildah(place.cache, architecture, "push", "--quiet", name, `oci:${layout}.part`);
  await removeStages(layouts, `${target}-${architecture}-`);
  await rename(`${layout}.part`, layout);
  await removeStageImages(place, architecture, name);
  return layout;
}

/** Earlier stages of the same image: their archives are kept elsewhere, so nothing reads them any more. */
async function removeStages(layouts: string, prefix: string): Promise<void> {
  for (const name of await readdir(layouts)) {
    if (name.startsWith(prefix) && !name.endsWith(".part")) await rm(join(layouts, name), { recursive: true });
  }
}

/** Stages built from older keys, and layers that only they used. */
async function removeStageImages(place: BuilderPlace, architecture: Architecture, current: string): Promise<void> {
  const repository = current.slice(0, current.lastIndexOf(":"));
  const named = await buildah(place.cache, architecture, "images", "--format", "{{.Name}}:{{.Tag}}");
  const old = named.split("\n").filter((name) => name.startsWith(`${repository}:`) && name !== current);
  if (old.length > 0) await buildah(place.cache, architecture, "rmi", ...old);
  await buildah(place.cache, architecture, "rmi", "--prune");
}

async function ensureBase(place: BuilderPlace, architecture: Architecture): Promise<void> {
  const present = await buildah(place.cache, architecture, "images", "--quiet", "--filter", `reference=${baseName}`);
  if (present.trim() !== "") return;
  const foreign = architecture !== hostArchitecture();
  await fetchDebs(place.debs(architecture), architecture, place.progress);
  place.progress(`making the Debian base image for ${architecture} (half a minute, once)`);
  const root = join(place.cache, `base-root-${architecture}`);
  await makeBaseRoot(root, place.debs(architecture), architecture, foreign);
  await mkdir(join(place.cache, `storage-${architecture}`), { recursive: true });
  const container = (await buildah(place.cache, architecture, "from", "--arch", architecture, "scratch")).trim();
  await buildah(place.cache, architecture, "copy", "--quiet", container, root, "/");
  await buildah(place.cache, architecture, "config", "--arch", architecture, "--cmd", "/bin/bash", container);
  await buildah(place.cache, architecture, "commit", "--quiet", "--rm", container, baseName);
  await rm(root, { recursive: true });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
