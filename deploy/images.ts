// `npm run images`: the three container images as archives that containerd, Docker and kind import. The demo and the
// tests call buildImages. With equal inputs nothing is built and nothing is asked of a network.
import { mkdir, readdir, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { causeChain } from "../shared/log.ts";
import { UserError } from "../shared/errors.ts";
import { checkoutRoot } from "../shared/tooling/pack.ts";
import { architectures, hostArchitecture, type Architecture } from "./images/architecture.ts";
import { chooseBuilder } from "./images/builder.ts";
import { checkSpace, imageCacheFolder, withImageLock } from "./images/cache-folder.ts";
import { contentKeys, imageTargets, type ImageTarget } from "./images/content-key.ts";
import { debFolder, prepareContext } from "./images/context.ts";
import { fromContainer, fromDebs } from "./images/debian.ts";
import { timedProgress, type Progress } from "./images/progress.ts";

export interface BuiltImage {
  readonly target: ImageTarget;
  /** With tag; the tag names the content. */
  readonly name: string;
  /** OCI archive. */
  readonly archive: string;
  readonly stageKey: string;
}

export const imageRegistry = "isthmus.dev";

/** Archives of earlier contents that are kept per image: a cluster that still starts may be reading one. */
const KEPT_ARCHIVES = 3;

export async function buildImages(
  progress: Progress,
  architecture: Architecture = hostArchitecture(),
): Promise<readonly BuiltImage[]> {
  const cache = imageCacheFolder();
  const images = await plannedImages(cache, architecture);
  if (await allPresent(images)) return images;
  const waiting = () => progress("waiting for another image build on this machine");
  await withImageLock(cache, waiting, async () => {
    await checkSpace(cache);
    await buildMissing({ cache, images, architecture, progress });
    await removeOldArchives(cache, images);
  });
  return images;
}

async function plannedImages(cache: string, architecture: Architecture): Promise<readonly BuiltImage[]> {
  const keys = await contentKeys(checkoutRoot, architecture);
  return imageTargets.map((target) => {
    const tag = `dev-${keys.images[target]}`;
    const archive = join(cache, "archives", `${target}-${architecture}-${tag}.tar`);
    return { target, name: `${imageRegistry}/${target}:${tag}`, archive, stageKey: keys.stages[target] };
  });
}

interface BuildPlan {
  readonly cache: string;
  readonly images: readonly BuiltImage[];
  readonly architecture: Architecture;
  readonly progress: Progress;
}

async function buildMissing({ cache, images, architecture, progress }: BuildPlan): Promise<void> {
  const downloads = join(cache, "downloads");
  const context = join(cache, `context-${architecture}`);
  await mkdir(downloads, { recursive: true });
  await mkdir(join(cache, "archives"), { recursive: true });
  const builder = await chooseBuilder({ cache, debs: (of) => debFolder(downloads, of), progress });
  progress(`building images for ${architecture} with ${builder.kind}`);
  const unpackPackages =
    builder.kind === "docker"
      ? fromContainer(architecture, progress)
      : fromDebs(debFolder(downloads, architecture), architecture, progress);
  const recipe = images.find(({ target }) => target === "envoy")?.stageKey ?? "";
  await prepareContext({ root: checkoutRoot, downloads, context, recipe, unpackPackages, progress }, architecture);
  for (const { target, name, archive, stageKey } of images) {
    if (await isPresent(archive)) continue;
    await builder.build({ target, name, stageKey, architecture, context, archive });
    const { size } = await stat(archive);
    progress(`${name} (${(size / 1e6).toFixed(0)} MB)`);
  }
}

async function allPresent(images: readonly BuiltImage[]): Promise<boolean> {
  const present = await Promise.all(images.map((image) => isPresent(image.archive)));
  return present.every(Boolean);
}

/** Being used counts as being new, so that an image that never changes is not the first to be removed. */
async function isPresent(archive: string): Promise<boolean> {
  const now = new Date();
  return utimes(archive, now, now).then(
    () => true,
    () => false,
  );
}

async function removeOldArchives(cache: string, images: readonly BuiltImage[]): Promise<void> {
  const folder = join(cache, "archives");
  const names = (await readdir(folder)).filter((name) => name.endsWith(".tar"));
  const dated = await Promise.all(names.map(async (name) => ({ name, at: (await stat(join(folder, name))).mtimeMs })));
  dated.sort((a, b) => b.at - a.at);
  for (const { target } of images) {
    const old = dated.filter(({ name }) => name.startsWith(`${target}-`)).slice(KEPT_ARCHIVES);
    for (const { name } of old) await rm(join(folder, name));
  }
}

function parseArchitecture(argv: readonly string[]): Architecture {
  const at = argv.indexOf("--arch");
  if (at < 0) return hostArchitecture();
  const found = architectures.find((architecture) => architecture === argv[at + 1]);
  if (found !== undefined) return found;
  throw new UserError("ISTHMUS_ARCHITECTURE", `--arch takes ${architectures.join(" or ")}`);
}

const usage = `usage: npm run images -- [--arch amd64|arm64] [-o json]
Builds isthmus, envoy and init from deploy/Dockerfile as OCI archives, with Docker where "docker info" succeeds, else
with buildah as root. Nothing is done when nothing changed. The way through Docker has not been run yet by anybody who
told us; the way through buildah is what the tests use.
`;

async function main(argv: readonly string[]): Promise<void> {
  if (argv.includes("--help")) {
    process.stdout.write(usage);
    return;
  }
  const images = await buildImages(
    timedProgress((text) => process.stderr.write(text)),
    parseArchitecture(argv),
  );
  if (argv.includes("json")) process.stdout.write(`${JSON.stringify(images)}\n`);
  else process.stdout.write(images.map(({ name, archive }) => `${name}\t${archive}\n`).join(""));
}

if (import.meta.main) {
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    const user = error instanceof UserError ? error : undefined;
    process.stderr.write(`${user?.code ?? "ISTHMUS_INTERNAL"}: ${causeChain(error).join("; caused by ")}\n`);
    if (user?.hint !== undefined) process.stderr.write(`next: ${user.hint}\n`);
    process.exitCode = 1;
  }
}
