// Makes a one-layer image from a single static program as an OCI archive: the pause container and CoreDNS need no more,
// so no image builder is needed to bring clusters up. Equal input gives equal bytes, hence equal digests.
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";

export interface ProgramImage {
  /** Full reference, such as `localhost/isthmus/pause:1`. */
  readonly reference: string;
  /** Program on this machine, placed at /NAME in the image. */
  readonly program: string;
  readonly name: string;
  readonly entrypoint: readonly string[];
  readonly architecture: string;
}

interface TarFile {
  readonly path: string;
  readonly content: Buffer;
  readonly mode: number;
}

const BLOCK = 512;

/** POSIX ustar header (pax format, IEEE Std 1003.1-2017); time 0 and root ownership keep it reproducible. */
function tarHeader(file: TarFile): Buffer {
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, "0")}\0`;
  header.write(file.path, 0, 100);
  header.write(octal(file.mode, 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  header.write(octal(file.content.length, 12), 124);
  header.write(octal(0, 12), 136);
  header.write("        ", 148); // the checksum counts itself as spaces
  header.write("0", 156);
  header.write("ustar\0" + "00", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

export function tar(files: readonly TarFile[]): Buffer {
  const parts = files.flatMap((file) => {
    const padding = Buffer.alloc((BLOCK - (file.content.length % BLOCK)) % BLOCK);
    return [tarHeader(file), file.content, padding];
  });
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

function digestOf(content: Buffer): string {
  return `sha256:${createHash("sha256").update(content).digest("hex")}`;
}

/** Bytes of an OCI image layout in a tar (image-spec v1.1, image-layout.md). */
export function ociArchive(image: ProgramImage, program: Buffer): Buffer {
  const blobs: TarFile[] = [];
  const blob = (mediaType: string, content: Buffer): Descriptor => {
    const digest = digestOf(content);
    blobs.push({ path: `blobs/sha256/${digest.slice("sha256:".length)}`, content, mode: 0o644 });
    return { mediaType, digest, size: content.length };
  };
  const json = (value: unknown) => Buffer.from(JSON.stringify(value));
  const layer = tar([{ path: image.name, content: program, mode: 0o755 }]);
  const layerDescriptor = blob("application/vnd.oci.image.layer.v1.tar", layer);
  const config = blob(
    "application/vnd.oci.image.config.v1+json",
    json({
      architecture: image.architecture,
      os: "linux",
      config: { Entrypoint: image.entrypoint },
      rootfs: { type: "layers", diff_ids: [layerDescriptor.digest] }, // uncompressed: diff id = digest
    }),
  );
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = blob(mediaType, json({ schemaVersion: 2, mediaType, config, layers: [layerDescriptor] }));
  const annotations = {
    "io.containerd.image.name": image.reference,
    "org.opencontainers.image.ref.name": image.reference.split(":").at(-1) ?? "latest",
  };
  return tar([
    { path: "oci-layout", content: json({ imageLayoutVersion: "1.0.0" }), mode: 0o644 },
    { path: "index.json", content: json({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }), mode: 0o644 },
    ...blobs,
  ]);
}

export async function writeOciArchive(image: ProgramImage, file: string): Promise<void> {
  await writeFile(file, ociArchive(image, await readFile(image.program)));
}
