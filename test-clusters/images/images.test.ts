import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runCommand } from "../machine/command.ts";
import { readArchive, setKey } from "./archive-key.ts";
import { ociArchive } from "./oci-image.ts";

let dir = "";
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), "isthmus-image-"))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const image = {
  reference: "localhost/isthmus/pause:1",
  program: "",
  name: "pause",
  entrypoint: ["/pause"],
  architecture: "amd64",
};

async function archiveOf(program: string, reference = image.reference) {
  const file = join(dir, `${Math.random()}.tar`);
  writeFileSync(file, ociArchive({ ...image, reference }, Buffer.from(program)));
  return readArchive(file);
}

describe("an image made of one program", () => {
  it("is an archive that tar reads and whose layer holds the program", async () => {
    const file = join(dir, "pause.tar");
    writeFileSync(file, ociArchive(image, Buffer.from("#!program")));
    const index = JSON.parse(await runCommand("tar", ["-xOf", file, "index.json"])) as {
      manifests: { digest: string; annotations: Record<string, string> }[];
    };
    const blob = (digest: string) => `blobs/sha256/${digest.replace("sha256:", "")}`;
    const manifest = JSON.parse(await runCommand("tar", ["-xOf", file, blob(index.manifests[0]?.digest ?? "")])) as {
      layers: { digest: string }[];
    };
    await runCommand("tar", ["-xf", file, "-C", dir, blob(manifest.layers[0]?.digest ?? "")]);
    const layer = join(dir, blob(manifest.layers[0]?.digest ?? ""));
    expect(await runCommand("tar", ["-xOf", layer, "pause"])).toBe("#!program");
    expect(await runCommand("tar", ["-tvf", layer])).toMatch(/^-rwxr-xr-x 0\/0\s+9 1970-01-01 \d\d:\d\d pause/);
    expect(index.manifests[0]?.annotations["io.containerd.image.name"]).toBe("localhost/isthmus/pause:1");
  });

  it("has the same bytes when it is made again", () => {
    expect(ociArchive(image, Buffer.from("a")).equals(ociArchive(image, Buffer.from("a")))).toBe(true);
  });
});

describe("the key of an archive", () => {
  it("is that of its content and name, not of its file", async () => {
    const [first, same, other, renamed] = await Promise.all([
      archiveOf("a"),
      archiveOf("a"),
      archiveOf("b"),
      archiveOf("a", "localhost/isthmus/pause:2"),
    ]);
    expect(first.key).toBe(same.key);
    expect(first.key).not.toBe(other.key);
    expect(first.key).not.toBe(renamed.key);
    expect(setKey([first, other])).toBe(setKey([other, same]));
    expect(setKey([first])).not.toBe(setKey([first, other]));
  });

  it.each([
    { name: "text", make: (file: string) => writeFileSync(file, "no tar"), says: "holds no index.json" },
    { name: "nothing at all", make: () => undefined, says: "cannot be read" },
    { name: "an empty file", make: (file: string) => writeFileSync(file, ""), says: "holds no index.json" },
  ])("is refused for $name, naming the file", async ({ make, says }) => {
    const file = join(dir, "image.tar");
    make(file);
    await expect(readArchive(file)).rejects.toThrow(`${file} is no OCI image archive: it ${says.replace(/^it /, "")}`);
  });
});
