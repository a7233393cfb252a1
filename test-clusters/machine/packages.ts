// System packages: what is missing is listed, a person at a terminal is asked once, an unattended run says what it
// installs and goes on. Nothing installed is removed or restarted, and no daemon of a new package is started.
import { existsSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { UserError } from "../../shared/errors.ts";
import type { Progress } from "../../shared/progress.ts";
import { findProgram, runCommand } from "./command.ts";

export interface SystemPackage {
  /** Debian's name. */
  readonly name: string;
  /** Present when one of these programs is on PATH, or one of these files exists. */
  readonly programs?: readonly string[];
  readonly files?: readonly string[];
}

/** Where distributions put the CNI plugins. */
export const cniBinDirs = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

/** By purpose, so that nobody installs an image builder to run the hub. */
export const packagesFor = {
  clusters: [
    { name: "containerd", programs: ["containerd"] },
    { name: "runc", programs: ["runc"] },
    { name: "containernetworking-plugins", files: cniBinDirs.map((dir) => `${dir}/ptp`) },
    { name: "nftables", programs: ["nft"] },
    { name: "iptables", programs: ["iptables"] },
    { name: "conntrack", programs: ["conntrack"] },
    { name: "iproute2", programs: ["ip"] },
    { name: "util-linux", programs: ["nsenter", "unshare", "flock"] },
  ],
  images: [
    { name: "buildah", programs: ["buildah"] },
    { name: "debootstrap", programs: ["debootstrap"] },
  ],
  hub: [{ name: "redis-server", programs: ["redis-server"] }],
} as const satisfies Record<string, readonly SystemPackage[]>;

export type PackagePurpose = keyof typeof packagesFor;

async function isPresent(wanted: SystemPackage): Promise<boolean> {
  if (wanted.files?.some((file) => existsSync(file))) return true;
  if (wanted.programs === undefined) return false;
  const found = await Promise.all(wanted.programs.map((program) => findProgram(program)));
  return found.every((program) => program !== undefined);
}

export async function missingPackages(purposes: readonly PackagePurpose[]): Promise<readonly string[]> {
  const wanted = purposes.flatMap((purpose): readonly SystemPackage[] => packagesFor[purpose]);
  const present = await Promise.all(wanted.map(isPresent));
  return wanted.filter((_, index) => present[index] === false).map((each) => each.name);
}

export interface InstallOptions {
  /** `--yes`: do not ask. */
  readonly yes: boolean;
  readonly progress: Progress;
}

/** Asks, or goes on unasked: at a terminal a person decides; `--yes`, CI=true or no terminal decide for themselves. */
async function mayInstall(names: readonly string[], yes: boolean): Promise<boolean> {
  if (yes || process.env["CI"] === "true" || !process.stdin.isTTY || !process.stderr.isTTY) return true;
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await prompt.question(`install ${names.join(", ")} with apt-get? [Y/n] `);
    return /^\s*(y|yes)?\s*$/i.test(answer);
  } finally {
    prompt.close();
  }
}

export async function ensurePackages(purposes: readonly PackagePurpose[], options: InstallOptions): Promise<void> {
  const missing = await missingPackages(purposes);
  if (missing.length === 0) return;
  const list = missing.join(", ");
  const byHand = { hint: `install them by hand: apt-get install ${missing.join(" ")}` };
  if (process.getuid?.() !== 0)
    throw new UserError("ISTHMUS_CLUSTERS_PACKAGES", `system packages are missing and need root: ${list}`, byHand);
  if ((await findProgram("apt-get")) === undefined)
    throw new UserError("ISTHMUS_CLUSTERS_PACKAGES", `missing: ${list}; this system has no apt-get`, {
      hint: "install the same programs with this system's package tool",
    });
  options.progress.say(`missing system packages: ${list}`);
  if (!(await mayInstall(missing, options.yes)))
    throw new UserError("ISTHMUS_CLUSTERS_PACKAGES", `not installed: ${list}`, byHand);
  await options.progress.step(`apt-get install ${missing.join(" ")}`, () => install(missing));
}

/** What maintainer scripts call to start a daemon (Debian Policy 9.3.3.2 and deb-systemd-invoke(1p)). */
const daemonStarters = ["/usr/sbin/invoke-rc.d", "/usr/bin/deb-systemd-invoke"];

/**
 * Debian starts a daemon after installing it. A policy-rc.d file would forbid it but could stay behind after a crash, so
 * the starters are covered by `true` in a mount namespace of our own, which ends with apt-get.
 */
async function install(names: readonly string[]): Promise<void> {
  const script = [
    "set -e",
    ...daemonStarters.map((file) => `if [ -e ${file} ]; then mount --bind /bin/true ${file}; fi`),
    "apt-get update -qq",
    `apt-get install -y --no-install-recommends ${names.join(" ")}`,
  ].join("\n");
  try {
    await runCommand("unshare", ["--mount", "sh", "-c", script], {
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
  } catch (cause) {
    throw new UserError("ISTHMUS_CLUSTERS_PACKAGES", `apt-get could not install ${names.join(", ")}`, {
      cause,
      hint: `try it by hand: apt-get install ${names.join(" ")}`,
    });
  }
}
