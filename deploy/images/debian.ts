// Debian packages for the images: the base root that stands in for debian:bookworm-slim where no registry can be
// reached, and the few files of redis-server and nftables. Packages are unpacked, never installed, so that the
// Dockerfile needs no RUN step; debootstrap checks their signatures.
import { cp, mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import type { Architecture } from "./architecture.ts";
import { findProgram, runCommand } from "./command.ts";
import type { Progress } from "./progress.ts";

const suite = "bookworm";

export interface Overlay {
  readonly name: "redis" | "nft";
  /** Packages that the base lacks; their libraries are taken whole. */
  readonly packages: readonly string[];
  /** Programs kept, each with the name it gets; everything else under bin and sbin is left out. */
  readonly programs: Readonly<Record<string, string>>;
}

export const overlays: readonly Overlay[] = [
  {
    name: "redis",
    packages: ["redis-tools", "libatomic1", "libjemalloc2", "liblzf1", "libssl3"],
    // one binary behind four names: it looks at the name it was started by
    programs: { "usr/bin/redis-check-rdb": "usr/bin/redis-server", "usr/bin/redis-cli": "usr/bin/redis-cli" },
  },
  {
    name: "nft",
    packages: [
      ...["nftables", "libnftables1", "libnftnl11", "libmnl0", "libedit2", "libbsd0", "libjansson4", "libxtables12"],
    ],
    programs: { "usr/sbin/nft": "usr/sbin/nft" },
  },
];

/** All .deb files that base and overlays need, in `folder`; downloaded once. */
export async function fetchDebs(folder: string, architecture: Architecture, progress: Progress): Promise<void> {
  if (await exists(join(folder, "complete"))) return;
  await needDebootstrap();
  progress(`fetching Debian ${suite} packages for ${architecture} (35 MB)`);
  const scratch = `${folder}.root`;
  await rm(scratch, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const include = overlays.flatMap((overlay) => overlay.packages).join(",");
  const variant = ["--variant=minbase", `--arch=${architecture}`, `--cache-dir=${folder}`, `--include=${include}`];
  await runCommand(["debootstrap", ...variant, "--download-only", suite, scratch, await debianMirror()]);
  const archives = join(scratch, "var", "cache", "apt", "archives");
  for (const name of await readdir(archives)) {
    if (name.endsWith(".deb")) await rename(join(archives, name), join(folder, name));
  }
  await rm(scratch, { recursive: true });
  await mkdir(join(folder, "complete"));
}

/** Where packages come from: unpacks all of them into one folder. */
export type UnpackPackages = (packages: readonly string[], into: string) => Promise<void>;

export function fromDebs(folder: string, architecture: Architecture, progress: Progress): UnpackPackages {
  return async (packages, into) => {
    await fetchDebs(folder, architecture, progress);
    for (const name of packages) await runCommand(["dpkg-deb", "-x", await debOf(folder, name), into]);
  };
}

/** On a machine that has Docker but not Debian's tools: the base image itself fetches and unpacks. */
export function fromContainer(architecture: Architecture, progress: Progress): UnpackPackages {
  return async (packages, into) => {
    progress(`fetching ${packages[0] ?? "packages"} and its libraries in a container`);
    await mkdir(into, { recursive: true });
    const fetch = `apt-get update -qq && cd /tmp && apt-get download -qq ${packages.join(" ")}`;
    const unpack = `for deb in /tmp/*.deb; do dpkg-deb -x "$deb" /out; done && chmod -R a+rX /out`;
    const run = ["docker", "run", "--rm", "--platform", `linux/${architecture}`, "--volume", `${into}:/out`];
    await runCommand([...run, `debian:${suite}-slim`, "sh", "-ceu", `${fetch} && ${unpack}`]);
  };
}

/** The overlay's files below `target`, laid out for a merged /usr. */
export async function unpackOverlay(overlay: Overlay, unpack: UnpackPackages, target: string): Promise<void> {
  const scratch = `${target}.unpack`;
  await rm(scratch, { recursive: true, force: true });
  await unpack(overlay.packages, scratch);
  for (const [from, to] of Object.entries(overlay.programs)) {
    await cp(join(scratch, from), join(target, to), { recursive: true });
  }
  for (const folder of ["usr/lib", "lib"]) {
    if (!(await exists(join(scratch, folder)))) continue;
    for (const triplet of await readdir(join(scratch, folder))) {
      if (!triplet.endsWith("-linux-gnu")) continue;
      await cp(join(scratch, folder, triplet), join(target, "usr/lib", triplet), {
        recursive: true,
        verbatimSymlinks: true,
      });
    }
  }
  for (const name of overlay.packages) await keepLicence(scratch, target, name);
  await rm(scratch, { recursive: true });
}

async function keepLicence(scratch: string, target: string, name: string): Promise<void> {
  const licence = join("usr/share/doc", name, "copyright");
  if (await exists(join(scratch, licence))) await cp(join(scratch, licence), join(target, licence));
}

/**
 * A root file system equal in content to debian:bookworm-slim: documentation, translations and package lists are
 * left out as there, licences stay. For another architecture the packages are unpacked but not configured, which
 * needs no emulation and is enough for the programs that the images start.
 */
export async function makeBaseRoot(
  root: string,
  debs: string,
  architecture: Architecture,
  foreign: boolean,
): Promise<void> {
  await rm(root, { recursive: true, force: true });
  const mode = foreign ? ["--foreign"] : [];
  const variant = ["--variant=minbase", `--arch=${architecture}`, `--cache-dir=${debs}`, ...mode];
  await runCommand(["debootstrap", ...variant, suite, root, await debianMirror()]);
  await runCommand(["sh", "-ceu", shrink], { cwd: root });
}

const shrink = `
rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/*.log debootstrap usr/share/man/* usr/share/info/* usr/share/locale/*
rm -f var/cache/debconf/*-old var/lib/dpkg/*-old
rm -f etc/resolv.conf etc/hostname
find usr/share/doc -type f ! -name copyright -delete
find usr/share/doc -type l -delete
find usr/share/doc -type d -empty -delete
`;

/** The mirror this machine already uses for the suite, else Debian's own name for "the nearest". */
async function debianMirror(): Promise<string> {
  if ((await findProgram("apt-get")) !== undefined) {
    const targets = await runCommand(["apt-get", "indextargets", "--format", "$(REPO_URI)", `Codename: ${suite}`]);
    const first = targets.split("\n").find((line) => line.startsWith("http"));
    if (first !== undefined) return first;
  }
  return "http://deb.debian.org/debian";
}

async function debOf(debs: string, name: string): Promise<string> {
  const found = (await readdir(debs)).find((file) => file.startsWith(`${name}_`) && file.endsWith(".deb"));
  if (found === undefined) throw new Error(`no package ${name} in ${debs}`);
  return join(debs, found);
}

async function needDebootstrap(): Promise<void> {
  const missing: string[] = [];
  for (const tool of ["debootstrap", "dpkg-deb"]) {
    if ((await findProgram(tool)) === undefined) missing.push(tool === "dpkg-deb" ? "dpkg" : tool);
  }
  if (missing.length === 0) return;
  throw new UserError("ISTHMUS_TOOLS_MISSING", `missing: ${missing.join(", ")}`, {
    hint: `apt-get install -y ${missing.join(" ")}`,
  });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
