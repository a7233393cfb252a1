// Real Kubernetes clusters as a library: what the demo, the end-to-end tests and the benches use, and what the command
// line (clusters.ts) is made of. Everything a fleet makes is found again by its run's name, also after kill -9.
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "../shared/errors.ts";
import { cacheRoot, withLock } from "../shared/programs/cache.ts";
import { ensureKube, type KubeBinaries } from "./binaries/kube.ts";
import { openCluster, type Cluster } from "./cluster.ts";
import { startCluster, type StartedCluster } from "./cluster-start.ts";
import { fleetFaults, type FleetFaults } from "./faults/fleet-faults.ts";
import { readArchive, type ImageArchive } from "./images/archive-key.ts";
import { ensureSystemImages } from "./images/system-images.ts";
import { ensureTemplate } from "./images/template.ts";
import { cgroupLayout, makeCgroup, procsFile, type CgroupLayout } from "./machine/cgroups.ts";
import { cniBinDirs, ensurePackages } from "./machine/packages.ts";
import { bootId, processIdOf } from "./machine/proc.ts";
import {
  checkNftables,
  requireContainerd,
  requireMachine,
  requireSpace,
  type InstalledContainerd,
} from "./machine/requirements.ts";
import { chooseSlot, planNetwork, slotOf, type RunNetwork } from "./network/addresses.ts";
import { hostRoutes, inNetns, linkHost, makeFabric } from "./network/fabric.ts";
import { kubeconfig } from "./node/kubeconfig.ts";
import { clusterPlace } from "./node/place.ts";
import { silentProgress, type Progress } from "../shared/progress.ts";
import { checkClusterNames, checkRunId, netnsPath, runPaths, type RunPaths } from "./run/paths.ts";
import { startProcess, type ProcessRecord } from "./run/processes.ts";
import { knownRuns, readRecord, writeJson, type RunRecord } from "./run/record.ts";
import { sweep, sweepAbandoned } from "./run/sweep.ts";

export type { Cluster } from "./cluster.ts";

export interface Hub {
  /** For `spawnIn` and `nsenter --net=`. */
  readonly netns: string;
  /** Reachable from every cluster and from the host. */
  readonly address: string;
  /** Empty folder for the hub's data; it goes away with the run. */
  readonly dataDir: string;
}

export interface FleetOptions {
  readonly runId: string;
  readonly clusters: readonly string[];
  /** OCI archives whose images every cluster has. */
  readonly imageArchives: readonly string[];
  readonly signal: AbortSignal;
  readonly progress: Progress;
  /** Install missing system packages without asking. */
  readonly yes?: boolean;
}

export interface SpawnInOptions {
  /** Unique in the run; names the log file, and the process for `faults`. */
  readonly name: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface Fleet {
  readonly runId: string;
  /** One context per cluster, named exactly as the cluster. */
  readonly kubeconfigPath: string;
  readonly logsDir: string;
  readonly kubectlProgram: string;
  readonly hub: Hub;
  readonly clusters: ReadonlyMap<string, Cluster>;
  readonly faults: FleetFaults;
  /** Starts a long-lived program in a network namespace of the run; it ends with the run at the latest. */
  spawnIn(netns: string, argv: readonly string[], options: SpawnInOptions): Promise<ProcessRecord>;
  cluster(name: string): Cluster;
}

/** Brings the clusters up, or leaves nothing behind. The process that called it owns the run: see `handOver`. */
export async function upFleet(options: FleetOptions): Promise<Fleet> {
  const { runId, progress, signal } = options;
  const paths = runPaths(checkRunId(runId));
  checkClusterNames(options.clusters);
  const layout = await requireMachine();
  await requireSpace(cacheRoot());
  await ensurePackages(["clusters"], { yes: options.yes ?? false, progress });
  const containerd = await requireContainerd();
  await checkNftables();
  const limits = { cgroupVersion: layout.version, containerdMajor: containerd.version.major };
  const kube = await ensureKube(limits, progress, signal);
  const system = await ensureSystemImages(progress, signal);
  const archives = await Promise.all([...system, ...options.imageArchives].map(readArchive));
  signal.throwIfAborted();
  const network = await register(paths, options.clusters, progress);
  const failed = new AbortController();
  const start: Start = { paths, layout, containerd, kube, network, archives, progress };
  const tasks = startAll(start, AbortSignal.any([signal, failed.signal]));
  try {
    await Promise.all(tasks);
    signal.throwIfAborted();
    return fleetOf(paths, network, kube, layout);
  } catch (error) {
    // all must have stopped before the sweep, or one would go on making what the sweep has just removed
    failed.abort(error);
    await Promise.allSettled(tasks);
    await progress.step("taking down what was started", () => sweep(runId));
    signal.throwIfAborted(); // the reason for stopping, not what the stopping broke
    throw error;
  }
}

interface Start {
  readonly paths: RunPaths;
  readonly layout: CgroupLayout;
  readonly containerd: InstalledContainerd;
  readonly kube: KubeBinaries;
  readonly network: RunNetwork;
  readonly archives: readonly ImageArchive[];
  readonly progress: Progress;
}

/** Everything that runs side by side while a fleet starts; the last one ends when the fleet is up. */
function startAll(start: Start, signal: AbortSignal): readonly Promise<unknown>[] {
  const { paths, layout, containerd, kube, network, progress } = start;
  const prepared = prepare(start);
  const template = prepared.then(() =>
    ensureTemplate(start.archives, { paths, layout, containerd: containerd.version, progress, signal }),
  );
  const deps = {
    paths,
    layout,
    containerd: containerd.version,
    containerdProgram: containerd.program,
    cniBinDir: cniBinDirs.find((dir) => existsSync(join(dir, "ptp"))) ?? "/usr/lib/cni",
    kube,
    keep: [cacheRoot(), paths.runtime],
    template,
    signal,
  };
  const clusters = network.clusters.map(async (cluster) => {
    await prepared;
    return startCluster(clusterPlace(paths, cluster), deps);
  });
  const names = network.clusters.map((cluster) => cluster.name).join(", ");
  const all = progress.step(`starting ${names}`, async () => {
    const started = await Promise.all(clusters);
    await writeKubeconfig(paths, started);
    await startLoadBalancer(paths, layout, started);
    for (const { client } of started) client.close();
  });
  return [prepared, template, ...clusters, all];
}

/** The run's own cgroup, folders and network. */
async function prepare({ paths, layout, network, progress }: Start): Promise<void> {
  await raiseInotifyLimit(progress);
  await makeCgroup(layout, `${paths.cgroup}/fleet`, true);
  await mkdir(join(paths.home, "hub"), { recursive: true });
  await mkdir(paths.processes, { recursive: true });
  await makeFabric(paths, network);
  await linkHost(paths, network);
}

/** Held while a run registers and while abandoned runs are swept: a folder without a record yet is not abandoned. */
function registerLock(): string {
  return join(cacheRoot(), "runs.lock");
}

/** Takes a free network and writes the record, alone among all processes: two runs side by side get different ones. */
async function register(paths: RunPaths, clusters: readonly string[], progress: Progress): Promise<RunNetwork> {
  return withLock(registerLock(), progress, async () => {
    for (const swept of await sweepAbandoned()) progress.say(`removed what the abandoned run "${swept}" had left`);
    const others = await knownRuns();
    if (others.some((run) => run.runId === paths.runId))
      throw new UserError("ISTHMUS_CLUSTERS_RUN_EXISTS", `run "${paths.runId}" is up already`, {
        hint: `npm run clusters -- down --run ${paths.runId}`,
      });
    const taken = others.flatMap((run) => (run.record === undefined ? [] : [slotOf(run.record.subnet)]));
    const network = planNetwork(chooseSlot(await hostRoutes(), new Set(taken)), clusters);
    const record: RunRecord = {
      runId: paths.runId,
      home: paths.home,
      subnet: network.subnet,
      clusters,
      bootId: bootId(),
      startedAtMs: Date.now(),
      owner: processIdOf(process.pid) ?? null,
    };
    await writeJson(paths.record, record);
    return network;
  });
}

const INOTIFY_FILE = "/proc/sys/fs/inotify/max_user_instances";
/** Kubelets, containerds, Envoys and everything that watches a file share one limit; Debian's 128 fit one cluster. */
const INOTIFY_INSTANCES = 1024;

async function raiseInotifyLimit(progress: Progress): Promise<void> {
  const current = Number(await readFile(INOTIFY_FILE, "utf8"));
  if (current >= INOTIFY_INSTANCES) return;
  await writeFile(INOTIFY_FILE, String(INOTIFY_INSTANCES));
  progress.say(`raised fs.inotify.max_user_instances from ${current} to ${INOTIFY_INSTANCES} until the next boot`);
}

async function writeKubeconfig(paths: RunPaths, started: readonly StartedCluster[]): Promise<void> {
  const users = started.map(({ place, pki }) => ({
    cluster: place.cluster,
    server: place.server,
    caPem: pki.caPem,
    user: pki.admin,
  }));
  await writeFile(paths.kubeconfig, kubeconfig(users), { mode: 0o600 });
}

async function startLoadBalancer(paths: RunPaths, layout: CgroupLayout, started: readonly StartedCluster[]) {
  const clusters = started.map(({ place, pki }) => ({
    name: place.cluster,
    pool: place.lbPool,
    access: { server: place.server, caPem: pki.caPem, user: pki.admin },
  }));
  const config = join(paths.home, "load-balancer.json");
  await writeJson(config, { clusters });
  const program = fileURLToPath(new URL("./load-balancer/main.ts", import.meta.url));
  await startProcess(paths, {
    name: "load-balancer",
    procsFile: procsFile(layout, `${paths.cgroup}/fleet`),
    argv: [process.execPath, "--disable-warning=ExperimentalWarning", program, config],
    logFile: join(paths.logs, "load-balancer.log"),
  });
}

function fleetOf(paths: RunPaths, network: RunNetwork, kube: KubeBinaries, layout: CgroupLayout): Fleet {
  const clusters = new Map(
    network.clusters.map((each) => [each.name, openCluster({ paths, network: each, kube, layout })]),
  );
  return {
    runId: paths.runId,
    kubeconfigPath: paths.kubeconfig,
    logsDir: paths.logs,
    kubectlProgram: kube.programs.kubectl,
    hub: { netns: netnsPath(paths, "hub"), address: network.hubAddress, dataDir: join(paths.home, "hub") },
    clusters,
    faults: fleetFaults(paths, network),
    spawnIn: (netns, argv, spawnOptions) =>
      startProcess(paths, {
        ...spawnOptions,
        procsFile: procsFile(layout, `${paths.cgroup}/fleet`),
        argv: inNetns(netns, argv),
        logFile: join(paths.logs, `${spawnOptions.name}.log`),
      }),
    cluster: (name) => {
      const found = clusters.get(name);
      if (found === undefined)
        throw new UserError("ISTHMUS_CLUSTERS_NO_CLUSTER", `run "${paths.runId}" has no cluster "${name}"`, {
          hint: `it has ${[...clusters.keys()].join(", ")}`,
        });
      return found;
    },
  };
}

/** A fleet that is up already, brought up by this process or by another. */
export async function openFleet(runId: string, progress: Progress): Promise<Fleet> {
  const record = await readRecord(checkRunId(runId));
  const layout = cgroupLayout();
  if (record === undefined || layout === undefined)
    throw new UserError("ISTHMUS_CLUSTERS_NO_RUN", `no run "${runId}" is up`, {
      hint: `npm run clusters -- up --run ${runId}`,
    });
  const containerd = await requireContainerd();
  const kube = await ensureKube({ cgroupVersion: layout.version, containerdMajor: containerd.version.major }, progress);
  return fleetOf(runPaths(runId, record.home), planNetwork(slotOf(record.subnet), record.clusters), kube, layout);
}

/** The run outlives this process from now on: only `down` ends it. */
export async function handOver(runId: string): Promise<void> {
  const record = await readRecord(runId);
  if (record === undefined) throw new Error(`run ${runId} has no record`);
  await writeJson(runPaths(runId, record.home).record, { ...record, owner: null });
}

/** Takes the run down, in whatever state it is, and every abandoned run with it. Nothing of it is left. */
export async function downFleet(runId: string): Promise<void> {
  await sweep(checkRunId(runId));
  await withLock(registerLock(), silentProgress, sweepAbandoned);
}
