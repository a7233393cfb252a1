import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { chmod, mkdir, readFile, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runCommand } from "./command.ts";
import { readLayout, withLayer, writeArchive } from "./oci-layout.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "isthmus-oci-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const sha = (bytes: Buffer | string) => createHash("sha256").update(bytes).digest("hex");

async function blob(layout: string, content: string): Promise<{ digest: string; size: number }> {
  await mkdir(join(layout, "blobs", "sha256"), { recursive: true });
  await writeFile(join(layout, "blobs", "sha256", sha(content)), content);
  return { digest: `sha256:${sha(content)}`, size: content.length };
}

/** A layout with one layer, as buildah writes it. */
async function aLayout(): Promise<string> {
  const layout = join(folder, "layout");
  const layer = await blob(layout, "not really a layer");
  const config = await blob(
    layout,
    JSON.stringify({ config: { User: "65532" }, rootfs: { type: "layers", diff_ids: ["sha256:1"] }, history: [{}] }),
  );
  const manifest = { schemaVersion: 2, config: { mediaType: "c", ...config }, layers: [{ mediaType: "l", ...layer }] };
  const entry = { mediaType: "m", ...(await blob(layout, JSON.stringify(manifest))) };
  await writeFile(join(layout, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
  return layout;
}

async function someFiles(): Promise<string> {
  const files = join(folder, "files");
  await mkdir(join(files, "app"), { recursive: true });
  await writeFile(join(files, "app", "main.js"), "run();\n");
  return files;
}

interface Unpacked {
  readonly index: { manifests: { digest: string; annotations: Record<string, string> }[] };
  readonly manifest: { config: { digest: string }; layers: { digest: string; size: number }[] };
  readonly config: { config: object; rootfs: { diff_ids: string[] }; history: object[] };
  readonly blob: (digest: string) => Buffer;
}

async function unpack(archive: string): Promise<Unpacked> {
  const target = join(folder, "unpacked");
  await mkdir(target, { recursive: true });
  await runCommand(["tar", "-xf", archive, "-C", target]);
  const read = (digest: string) => readFileSync(join(target, "blobs", "sha256", digest.slice(7)));
  const index = JSON.parse(await readFile(join(target, "index.json"), "utf8")) as Unpacked["index"];
  const manifest = JSON.parse(read(index.manifests[0]!.digest).toString()) as Unpacked["manifest"];
  const config = JSON.parse(read(manifest.config.digest).toString()) as Unpacked["config"];
  return { index, manifest, config, blob: read };
}

describe("an image with the layer of sources", () => {
  test("names every blob by its content, and the new layer by its uncompressed content too", async () => {
    const image = await withLayer(await readLayout(await aLayout()), await someFiles());
    const archive = join(folder, "out.tar");
    await writeArchive(image, "isthmus.dev/isthmus:dev-1", archive);
    const { index, manifest, config, blob } = await unpack(archive);
    expect(index.manifests[0]?.annotations["org.opencontainers.image.ref.name"]).toBe("isthmus.dev/isthmus:dev-1");
    expect(manifest.layers).toHaveLength(2);
    for (const { digest, size } of manifest.layers) {
      expect(`sha256:${sha(blob(digest))}`).toBe(digest);
      expect(blob(digest).length).toBe(size);
    }
    const layer = gunzipSync(blob(manifest.layers[1]!.digest));
    expect(config.rootfs.diff_ids).toEqual(["sha256:1", `sha256:${sha(layer)}`]);
    expect(config.history).toHaveLength(2);
    expect(config.config).toEqual({ User: "65532" });
  });

  test("is the same image when the same files have other times and modes", async () => {
    const stage = await readLayout(await aLayout());
    const files = await someFiles();
    const before = await withLayer(stage, files);
    await utimes(join(files, "app", "main.js"), 1, 1);
    await chmod(join(files, "app", "main.js"), 0o600);
    const after = await withLayer(stage, files);
    expect(after.manifest).toEqual(before.manifest);
  });

  test("is what the Dockerfile's last stage says: one COPY of app/ owned by root, and nothing else", () => {
    const dockerfile = readFileSync(new URL("../Dockerfile", import.meta.url), "utf8");
    const stage = /^FROM runtime AS isthmus\n([^]*?)(?=^#|^FROM)/m.exec(dockerfile)?.[1]?.trim();
    expect(stage).toBe("COPY --chown=0:0 app/ /");
  });
});
