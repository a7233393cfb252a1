// Images as OCI layouts (a folder of blobs): how a stage that buildah built once becomes the image of each commit.
// Adding the layer of compiled sources here takes a second; buildah takes twenty to compress the other layers again.
// The layer is what `COPY --chown=0:0 app/ /`, the only line of the Dockerfile's last stage, makes.
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { runCommand } from "./command.ts";
import { placeFile } from "./placed-file.ts";

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface Manifest {
  readonly schemaVersion: 2;
  readonly mediaType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

interface ImageConfig {
  readonly rootfs: { readonly type: "layers"; readonly diff_ids: readonly string[] };
  readonly history?: readonly object[];
}

export interface LayoutImage {
  /** Every blob but those added here lies in this layout. */
  readonly layout: string;
  readonly manifest: Manifest;
  /** Blobs made here, by digest. */
  readonly added: ReadonlyMap<string, Buffer>;
}

const layerType = "application/vnd.oci.image.layer.v1.tar+gzip";
const manifestType = "application/vnd.oci.image.manifest.v1+json";

export async function readLayout(layout: string): Promise<LayoutImage> {
  const index = await readJson<{ manifests: readonly Descriptor[] }>(join(layout, "index.json"));
  const [descriptor] = index.manifests;
  if (descriptor === undefined) throw new Error(`${layout} holds no image`);
  return { layout, manifest: await readJson<Manifest>(blobPath(layout, descriptor.digest)), added: new Map() };
}

/** The image with one more layer: the files of `folder`, owned by root, at the root of the file system. */
export async function withLayer(image: LayoutImage, folder: string): Promise<LayoutImage> {
  const tar = await tarOf(folder);
  const layer = await promisify(gzip)(tar, { level: 6 });
  const config = await readJson<ImageConfig>(blobPath(image.layout, image.manifest.config.digest));
  const newConfig = jsonBlob({
    ...config,
    rootfs: { ...config.rootfs, diff_ids: [...config.rootfs.diff_ids, digestOf(tar)] },
    history: [...(config.history ?? []), { created_by: "COPY --chown=0:0 app/ /" }],
  });
  const manifest: Manifest = {
    ...image.manifest,
    config: { ...image.manifest.config, digest: digestOf(newConfig), size: newConfig.length },
    layers: [...image.manifest.layers, { mediaType: layerType, digest: digestOf(layer), size: layer.length }],
  };
  return {
    layout: image.layout,
    manifest,
    added: new Map([...image.added, [digestOf(newConfig), newConfig], [digestOf(layer), layer]]),
  };
}

/** Writes the image under `name` as an OCI archive, whole or not at all. */
export async function writeArchive(image: LayoutImage, name: string, archive: string): Promise<void> {
  const folder = `${archive}.layout`;
  await rm(folder, { recursive: true, force: true });
  await mkdir(join(folder, "blobs", "sha256"), { recursive: true });
  const manifest = jsonBlob(image.manifest);
  const own = new Map([...image.added, [digestOf(manifest), manifest]]);
  for (const [digest, bytes] of own) await writeFile(blobPath(folder, digest), bytes);
  for (const { digest } of [image.manifest.config, ...image.manifest.layers]) {
    if (!own.has(digest)) await placeFile(blobPath(image.layout, digest), blobPath(folder, digest));
  }
  const entry: Descriptor = {
    mediaType: manifestType,
    digest: digestOf(manifest),
    size: manifest.length,
    annotations: { "org.opencontainers.image.ref.name": name, "io.containerd.image.name": name },
  };
  await writeFile(join(folder, "oci-layout"), jsonBlob({ imageLayoutVersion: "1.0.0" }));
  await writeFile(join(folder, "index.json"), jsonBlob({ schemaVersion: 2, manifests: [entry] }));
  await mkdir(dirname(archive), { recursive: true });
  // the index first: a reader of the stream then knows what the blobs are
  await runCommand(["tar", "-cf", `${archive}.part`, "-C", folder, "oci-layout", "index.json", "blobs"]);
  await rename(`${archive}.part`, archive);
  await rm(folder, { recursive: true });
}

/** Same files, same bytes: names sorted, no times, no owners, and modes that do not depend on this user's umask. */
async function tarOf(folder: string): Promise<Buffer> {
  const out = `${folder}.tar`;
  const stable = [
    "--sort=name",
    "--mtime=@0",
    "--owner=0",
    "--group=0",
    "--numeric-owner",
    "--mode=u=rwX,go=rX",
    "--format=gnu",
  ];
  await runCommand(["tar", "-cf", out, ...stable, "-C", folder, "."]);
  const bytes = await readFile(out);
  await rm(out);
  return bytes;
}

function jsonBlob(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function blobPath(layout: string, digest: string): string {
  return join(layout, "blobs", "sha256", digest.slice("sha256:".length));
}

async function readJson<T>(path: string): Promise<T> {
  return JSON.parse(await readFile(path, "utf8")) as T;
}
