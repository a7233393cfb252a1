// A Go toolchain and what is built with it. A Go on PATH is used when it is recent enough; else the toolchain zip that
// every Go module proxy serves, by its pinned hash. Modules are verified by go.sum and the checksum database as usual.
import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import { findProgram, runCommand } from "../machine/command.ts";
import type { Progress } from "../../shared/progress.ts";
import { cached, entryPath, goArch } from "../../shared/programs/cache.ts";
import { download } from "../../shared/programs/download.ts";
import { GO_NEEDED, GO_TOOLCHAIN, goToolchainZip } from "./versions.ts";
import { unzip } from "../../shared/programs/zip.ts";

export interface Go {
  readonly program: string;
  readonly version: string;
  readonly source: "PATH" | "toolchain zip";
}

/** "go version go1.26.8 linux/amd64" -> "1.26.8". */
export function parseGoVersion(answer: string): string | undefined {
  return /\bgo(\d+\.\d+(?:\.\d+)?)\b/.exec(answer)?.[1];
}

export function isRecentGo(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > GO_NEEDED.major || (major === GO_NEEDED.major && minor >= GO_NEEDED.minor);
}

/** The proxies of a GOPROXY list that can be asked for a file; `direct` and `off` are no addresses. */
export function proxiesOf(goproxy: string | undefined): readonly string[] {
  const list = goproxy === undefined || goproxy === "" ? "https://proxy.golang.org" : goproxy;
  return list
    .split(/[,|]/)
    .map((entry) => entry.trim().replace(/\/$/, ""))
    .filter((entry) => /^https?:\/\//.test(entry));
}

export async function findGo(progress: Progress): Promise<Go> {
  const onPath = await findProgram("go");
  if (onPath !== undefined) {
    const version = parseGoVersion(await runCommand(onPath, ["version"]));
    if (version !== undefined && isRecentGo(version)) return { program: onPath, version, source: "PATH" };
    progress.say(`  go on PATH is ${version ?? "of unknown version"}: too old, taking go ${GO_TOOLCHAIN}`);
  }
  const dir = await cached(entryPath({ name: "go", version: GO_TOOLCHAIN }), progress, (temporary) =>
    progress.step(`downloading go ${GO_TOOLCHAIN}`, () => fetchToolchain(temporary, progress)),
  );
  return { program: join(dir, "bin", "go"), version: GO_TOOLCHAIN, source: "toolchain zip" };
}

/** For `status`: which Go a build would use. */
export async function describeGo(): Promise<{ name: string; version: string; source: string }> {
  const onPath = await findProgram("go");
  const version = onPath === undefined ? undefined : parseGoVersion(await runCommand(onPath, ["version"]));
  if (onPath !== undefined && version !== undefined && isRecentGo(version))
    return { name: "go", version, source: onPath };
  const path = join(entryPath({ name: "go", version: GO_TOOLCHAIN }), "bin", "go");
  const source = existsSync(path) ? "cache (toolchain zip)" : "not needed so far: toolchain zip of the module proxy";
  return { name: "go", version: GO_TOOLCHAIN, source };
}

async function fetchToolchain(dir: string, progress: Progress): Promise<void> {
  const module = `v0.0.1-go${GO_TOOLCHAIN}.linux-${goArch()}`;
  const zip = join(dir, "toolchain.zip");
  const failures: string[] = [];
  for (const proxy of proxiesOf(process.env["GOPROXY"])) {
    try {
      const url = `${proxy}/golang.org/toolchain/@v/${module}.zip`;
      await download(url, zip, goToolchainZip[goArch()], { progress });
      await unpackToolchain(zip, dir, `golang.org/toolchain@${module}/`);
      return;
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new UserError(
    "ISTHMUS_CLUSTERS_NO_GO",
    `no Go ${GO_NEEDED.major}.${GO_NEEDED.minor} or newer and no toolchain from a module proxy (${failures.join("; ") || "GOPROXY names none"})`,
    { hint: "install Go, or set GOPROXY to a module proxy that this machine reaches" },
  );
}

async function unpackToolchain(zip: string, dir: string, prefix: string): Promise<void> {
  await unzip(zip, dir, (name) => {
    if (!name.startsWith(prefix)) return undefined;
    const path = name.slice(prefix.length);
    // a module zip carries no modes; the go command sets these folders executable as well
    return { path, mode: /^(bin|pkg\/tool)\//.test(path) ? 0o755 : 0o644 };
  });
  await rm(zip);
}

/** Static and reproducible: the same flags for every program, so that shared packages compile once. */
const buildFlags = ["-trimpath"];

export interface GoBuild {
  readonly what: string;
  readonly ldflags: string;
  /** `go` arguments after the flags. */
  readonly args: (output: string) => readonly string[];
  readonly command: "build" | "install";
  readonly cwd?: string;
}

/** What a long build tells and when it must stop. */
export interface BuildContext {
  readonly progress: Progress;
  readonly signal?: AbortSignal | undefined;
}

export async function goBuild(build: GoBuild, outputDir: string, { progress, signal }: BuildContext): Promise<void> {
  const go = await findGo(progress);
  await mkdir(outputDir, { recursive: true });
  const env = {
    ...process.env,
    CGO_ENABLED: "0",
    GOBIN: outputDir,
    GOFLAGS: "",
    GOWORK: "off",
    HOME: process.env["HOME"] ?? homedir(), // Go derives its caches from HOME
  };
  const args = [build.command, ...buildFlags, "-ldflags", build.ldflags, ...build.args(outputDir)];
  await progress.step(`building ${build.what} with go ${go.version} (${go.source})`, () =>
    runCommand(go.program, args, {
      env,
      diesWithUs: true, // a build that nobody waits for would hold both cores for minutes
      ...(build.cwd === undefined ? {} : { cwd: build.cwd }),
      ...(signal === undefined ? {} : { signal }),
    }),
  );
}
