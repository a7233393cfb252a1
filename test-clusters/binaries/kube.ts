// The Kubernetes programs of the clusters: found on the machine, else in the cache, else from the official release, else
// built once from Go modules. kube-set.ts decides whether a found set is usable.
import { readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findProgram, runCommand } from "../machine/command.ts";
import type { Progress } from "../../shared/progress.ts";
import { cached, entryPath, goArch } from "../../shared/programs/cache.ts";
import { download, request } from "../../shared/programs/download.ts";
import { goBuild, type BuildContext } from "./go.ts";
import { kubePrograms, objectionTo } from "./kube-set.ts";
import type { FoundProgram, FoundSet, KubeProgram, MachineLimits } from "./kube-set.ts";
import { ETCD, KUBERNETES, kubernetesArchive } from "./versions.ts";

export interface KubeBinaries {
  readonly programs: Readonly<Record<KubeProgram, string>>;
  /** For people: where the set came from. */
  readonly source: string;
  readonly version: string;
}

const versionArguments: Readonly<Record<KubeProgram, readonly string[]>> = {
  etcd: ["--version"],
  "kube-apiserver": ["--version"],
  "kube-controller-manager": ["--version"],
  "kube-scheduler": ["--version"],
  kubelet: ["--version"],
  "kube-proxy": ["--version"],
  kubectl: ["version", "--client"],
};

async function versionOf(name: KubeProgram, path: string): Promise<string | undefined> {
  const answer = await runCommand(path, versionArguments[name], { timeoutMs: 10_000 }).catch(() => "");
  const version = /\bv?(\d+\.\d+\.\d+)/.exec(answer)?.[1];
  return version === undefined ? undefined : `v${version}`;
}

/** Programs of KUBEBUILDER_ASSETS (the convention of envtest), each else from PATH. */
export async function findOnMachine(env: NodeJS.ProcessEnv = process.env): Promise<FoundSet> {
  const assets = env["KUBEBUILDER_ASSETS"];
  const path = assets === undefined || assets === "" ? env["PATH"] : `${assets}:${env["PATH"] ?? ""}`;
  const found: [KubeProgram, FoundProgram][] = [];
  for (const name of kubePrograms) {
    const program = await findProgram(name, { PATH: path });
    if (program !== undefined) found.push([name, { path: program, version: await versionOf(name, program) }]);
  }
  return Object.fromEntries(found);
}

function cachedPath(): string {
  return entryPath({ name: "kubernetes", version: KUBERNETES });
}

function programsIn(dir: string): Readonly<Record<KubeProgram, string>> {
  return Object.fromEntries(kubePrograms.map((name) => [name, join(dir, name)])) as Record<KubeProgram, string>;
}

/** What would be used without downloading or building anything; undefined when something would have to be. */
export async function presentKube(machine: MachineLimits): Promise<KubeBinaries | { readonly objection: string }> {
  const found = await findOnMachine();
  const objection = objectionTo(found, machine);
  if (objection === undefined) {
    const programs = Object.fromEntries(kubePrograms.map((name) => [name, found[name]?.path ?? ""]));
    return {
      programs: programs as Record<KubeProgram, string>,
      source: process.env["KUBEBUILDER_ASSETS"] ? "KUBEBUILDER_ASSETS and PATH" : "PATH",
      version: found["kube-apiserver"]?.version ?? "unknown",
    };
  }
  const source = await readFile(join(cachedPath(), "source"), "utf8").catch(() => undefined);
  if (source === undefined) return { objection: `PATH ${objection}` };
  return { programs: programsIn(cachedPath()), source: `cache (${source.trim()})`, version: KUBERNETES };
}

export async function ensureKube(
  machine: MachineLimits,
  progress: Progress,
  signal?: AbortSignal,
): Promise<KubeBinaries> {
  const present = await presentKube(machine);
  if ("programs" in present) return present;
  await cached(cachedPath(), progress, async (dir) => {
    const source = await fetchRelease(dir, progress, signal)
      .then(() => "official release")
      .catch(async (error: unknown) => {
        const why = error instanceof Error ? error.message : String(error);
        progress.say(`  official Kubernetes release not used: ${why}`);
        signal?.throwIfAborted();
        await buildKube(dir, { progress, signal });
        return "built from Go modules";
      });
    await writeFile(join(dir, "source"), `${source}\n`);
  });
  const made = await presentKube(machine);
  if ("programs" in made) return made;
  throw new Error(`the Kubernetes binaries in ${cachedPath()} are not usable: ${made.objection}`);
}

async function fetchRelease(dir: string, progress: Progress, signal?: AbortSignal): Promise<void> {
  const arch = goArch();
  const etcdFile = `etcd-${ETCD}-linux-${arch}.tar.gz`;
  const etcdBase = `https://github.com/etcd-io/etcd/releases/download/${ETCD}`;
  // asked first: both must be reachable, and this answer is small
  const sums = await (await request(`${etcdBase}/SHA256SUMS`)).text();
  const etcdSum = new RegExp(`^([0-9a-f]{64})\\s+${etcdFile.replaceAll(".", "\\.")}$`, "m").exec(sums)?.[1];
  if (etcdSum === undefined) throw new Error(`SHA256SUMS of etcd ${ETCD} does not name ${etcdFile}`);
  await progress.step(`downloading Kubernetes ${KUBERNETES} and etcd ${ETCD}`, async () => {
    const server = join(dir, "server.tar.gz");
    const url = `https://dl.k8s.io/${KUBERNETES}/kubernetes-server-linux-${arch}.tar.gz`;
    await download(url, server, kubernetesArchive[arch], { progress, signal });
    const names = kubePrograms.filter((name) => name !== "etcd").map((name) => `kubernetes/server/bin/${name}`);
    await runCommand("tar", ["-xzf", server, "-C", dir, "--strip-components=3", ...names]);
    const etcd = join(dir, etcdFile);
    await download(`${etcdBase}/${etcdFile}`, etcd, { algorithm: "sha256", hex: etcdSum }, { progress, signal });
    await runCommand("tar", ["-xzf", etcd, "-C", dir, "--strip-components=1", `${etcdFile.slice(0, -7)}/etcd`]);
    await Promise.all([rm(server), rm(etcd)]);
  });
}

async function buildKube(dir: string, context: BuildContext): Promise<void> {
  const module = join(dirname(fileURLToPath(import.meta.url)), "kube");
  context.progress.say(`  building Kubernetes ${KUBERNETES} from source: about 10 minutes on 2 cores, once`);
  await goBuild(
    {
      what: `Kubernetes ${KUBERNETES} and etcd ${ETCD}`,
      command: "build",
      ldflags: `-s -w -X k8s.io/component-base/version.gitVersion=${KUBERNETES}`,
      args: (output) => ["-mod=readonly", "-o", join(output, "kube"), "."],
      cwd: module,
    },
    dir,
    context,
  );
  for (const name of kubePrograms) await symlink("kube", join(dir, name));
}
