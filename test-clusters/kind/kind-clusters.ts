// Clusters by kind (Kubernetes in Docker), for machines where Docker is at hand: the same names, the same equal networks,
// a merged kubeconfig with the same contexts. Written from kind's documentation and not run by anybody yet: `--kind`
// says so, and no test counts it. Isolation between clusters and faults exist only in the native form.
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { UserError } from "../../shared/errors.ts";
import { cacheRoot } from "../../shared/programs/cache.ts";
import { findProgram, runCommand } from "../machine/command.ts";
import { POD_CIDR, SERVICE_CIDR } from "../network/addresses.ts";
import type { Progress } from "../../shared/progress.ts";
import { checkClusterNames, checkRunId } from "../run/paths.ts";

export interface KindOptions {
  readonly runId: string;
  readonly clusters: readonly string[];
  readonly imageArchives: readonly string[];
  readonly signal: AbortSignal;
  readonly progress: Progress;
}

/** kind's own name of a cluster of a run; runs are found again by it. */
export function kindName(runId: string, cluster: string): string {
  return `ist-${runId}-${cluster}`;
}

/** The run of a kind cluster, from its name and the clusters' names being without a dash or not: the first part. */
export function runsOfKindNames(names: readonly string[]): readonly string[] {
  const runs = names.map((name) => /^ist-(.+)-[^-]+$/.exec(name)?.[1]).filter((run) => run !== undefined);
  return [...new Set(runs)];
}

/** The cluster's shape: one node, and the networks that every cluster has. */
export function kindConfig(): string {
  return stringify({
    kind: "Cluster",
    apiVersion: "kind.x-k8s.io/v1alpha4",
    networking: { podSubnet: POD_CIDR, serviceSubnet: SERVICE_CIDR },
    nodes: [{ role: "control-plane" }],
  });
}

function home(runId: string): string {
  return join(cacheRoot(), "kind", runId);
}

async function hasDocker(): Promise<boolean> {
  if ((await findProgram("docker")) === undefined) return false;
  return runCommand("docker", ["info"], { timeoutMs: 10_000 }).then(
    () => true,
    () => false,
  );
}

async function kindClusters(): Promise<readonly string[]> {
  if ((await findProgram("kind")) === undefined || !(await hasDocker())) return [];
  return (await runCommand("kind", ["get", "clusters"])).split("\n").filter((name) => name.startsWith("ist-"));
}

/** Runs that were brought up with `--kind`. */
export async function kindRuns(): Promise<readonly string[]> {
  return runsOfKindNames(await kindClusters());
}

export async function kindUp(options: KindOptions): Promise<{ readonly kubeconfigPath: string }> {
  const { runId, progress, signal } = options;
  checkRunId(runId);
  for (const name of checkClusterNames(options.clusters))
    if (name.includes("-")) throw new UserError("ISTHMUS_CLUSTERS_BAD_NAME", `with --kind "${name}" may hold no dash`);
  if (!(await hasDocker()))
    throw new UserError("ISTHMUS_CLUSTERS_NO_DOCKER", "--kind needs Docker, and `docker info` fails", {
      hint: "start Docker, or leave --kind out",
    });
  if ((await findProgram("kind")) === undefined)
    throw new UserError("ISTHMUS_CLUSTERS_NO_KIND", "kind is not on PATH", { hint: "install it, or leave --kind out" });
  await mkdir(home(runId), { recursive: true });
  const kubeconfigPath = join(home(runId), "kubeconfig");
  const config = join(home(runId), "kind.yaml");
  await writeFile(config, kindConfig());
  try {
    for (const cluster of options.clusters) {
      signal.throwIfAborted();
      await progress.step(`kind create ${cluster}`, () =>
        createOne(runId, cluster, { config, kubeconfigPath, options }),
      );
    }
  } catch (error) {
    await kindDown(runId);
    throw error;
  }
  return { kubeconfigPath };
}

interface KindFiles {
  readonly config: string;
  readonly kubeconfigPath: string;
  readonly options: KindOptions;
}

async function createOne(runId: string, cluster: string, files: KindFiles): Promise<void> {
  const name = kindName(runId, cluster);
  const { signal } = files.options;
  const where = ["--config", files.config, "--kubeconfig", files.kubeconfigPath, "--wait", "120s"];
  await runCommand("kind", ["create", "cluster", "--name", name, ...where], { signal });
  for (const archive of files.options.imageArchives)
    await runCommand("kind", ["load", "image-archive", archive, "--name", name], { signal });
  // kind calls the context kind-NAME; the other form calls it as the cluster, and so do all users of the kubeconfig
  const rename = ["config", "rename-context", `kind-${name}`, cluster, "--kubeconfig", files.kubeconfigPath];
  await runCommand("kubectl", rename, { signal });
}

export async function kindDown(runId: string): Promise<void> {
  const own = (await kindClusters()).filter((name) => name.startsWith(`ist-${runId}-`));
  for (const name of own) await runCommand("kind", ["delete", "cluster", "--name", name]);
  await rm(home(runId), { recursive: true, force: true });
}
