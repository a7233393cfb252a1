// Faults inside one cluster: its network (rules in the node's namespace: pod to pod and pod to anywhere), its programs
// and its pods' processes.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import { processesIn, type CgroupLayout } from "../machine/cgroups.ts";
import { signalPid, signalProcess, startTicksOf } from "../machine/proc.ts";
import type { ClusterPlace } from "../node/place.ts";
import type { RunPaths } from "../run/paths.ts";
import { endProcess, listProcesses, readProcess, startProcess, type ProcessRecord } from "../run/processes.ts";
import { networkFaults, type FleetFaults } from "./fleet-faults.ts";

export interface PodTarget {
  readonly namespace: string;
  readonly pod: string;
  /** Every container of the pod when not given. */
  readonly container?: string;
}

export interface ClusterFaults extends FleetFaults {
  /** Names of the cluster's programs: etcd, kube-apiserver, containerd, kubelet, ... */
  programs(): Promise<readonly string[]>;
  /** SIGKILL to a program; it stays dead until `startProgram`. */
  killProgram(name: string): Promise<void>;
  startProgram(name: string): Promise<void>;
  /** SIGSTOP: the process is there, its sockets accept, nothing answers. */
  stopProgram(name: string): Promise<void>;
  continueProgram(name: string): Promise<void>;
  /** Signals every process of a pod's containers (the kubelet restarts what dies); how many there were. */
  signalPod(target: PodTarget, signal: NodeJS.Signals): Promise<number>;
  killPod(target: PodTarget): Promise<number>;
  stopPod(target: PodTarget): Promise<number>;
  continuePod(target: PodTarget): Promise<number>;
  /** SIGSTOP or SIGCONT to everything of the cluster, pods included: the whole site hangs. */
  freeze(): Promise<number>;
  thaw(): Promise<number>;
}

export interface ClusterFaultParts {
  readonly paths: RunPaths;
  readonly layout: CgroupLayout;
  readonly place: ClusterPlace;
  readonly kubectl: (args: readonly string[]) => Promise<string>;
}

interface PodStatus {
  readonly status?: {
    readonly containerStatuses?: readonly ContainerStatus[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
  };
}

interface ContainerStatus {
  readonly name: string;
  readonly containerID?: string;
  readonly state?: { readonly running?: object };
}

/** Ids of the pod's running containers, sidecars among the init containers included. */
export function runningContainers(pod: PodStatus, container: string | undefined): readonly string[] {
  const all = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
  return all
    .filter((each) => each.state?.running !== undefined && (container === undefined || each.name === container))
    .map((each) => (each.containerID ?? "").replace(/^.*:\/\//, ""))
    .filter((id) => id !== "");
}

const KILL_GRACE_MS = 5000;

export function clusterFaults(parts: ClusterFaultParts): ClusterFaults {
  const { paths, layout, place } = parts;
  const network = networkFaults({
    netns: place.netns,
    file: join(paths.runtime, "faults", `${place.cluster}.json`),
    endOf: () => undefined,
    known: "an address of a pod",
  });
  const program = async (name: string): Promise<ProcessRecord> => {
    const found = await readProcess(paths, `${place.cluster}/${name}`);
    if (found !== undefined) return found;
    throw new UserError("ISTHMUS_CLUSTERS_NO_PROGRAM", `${place.cluster} has no program "${name}"`);
  };
  const signalAll = (signal: NodeJS.Signals) => {
    const pids = processesIn(layout, place.cgroup);
    return Promise.resolve(pids.filter((pid) => signalPid(pid, signal)).length);
  };
  const signalPod = (target: PodTarget, signal: NodeJS.Signals) => signalPodProcesses(parts, target, signal);
  return {
    ...network,
    programs: async () => {
      const prefix = `${place.cluster}/`;
      const all = (await listProcesses(paths)).map((record) => record.spec.name);
      return all.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
    },
    killProgram: async (name) => endProcess(await program(name), "SIGKILL", KILL_GRACE_MS),
    startProgram: async (name) => {
      const record = await program(name);
      if (startTicksOf(record.pid) === record.startTicks)
        throw new UserError("ISTHMUS_CLUSTERS_PROGRAM_RUNS", `${place.cluster}/${name} is running`);
      await startProcess(paths, record.spec);
    },
    stopProgram: async (name) => void signalProcess(await program(name), "SIGSTOP"),
    continueProgram: async (name) => void signalProcess(await program(name), "SIGCONT"),
    signalPod,
    killPod: (target) => signalPod(target, "SIGKILL"),
    stopPod: (target) => signalPod(target, "SIGSTOP"),
    continuePod: (target) => signalPod(target, "SIGCONT"),
    freeze: () => signalAll("SIGSTOP"),
    thaw: () => signalAll("SIGCONT"),
  };
}

/** The cgroup of a container is named after its id, so its processes are those whose cgroup path ends with the id. */
async function signalPodProcesses(
  parts: ClusterFaultParts,
  target: PodTarget,
  signal: NodeJS.Signals,
): Promise<number> {
  const text = await parts.kubectl(["get", "pod", target.pod, "-n", target.namespace, "-o", "json"]);
  const ids = new Set(runningContainers(JSON.parse(text) as PodStatus, target.container));
  if (ids.size === 0)
    throw new UserError(
      "ISTHMUS_CLUSTERS_NO_POD",
      `pod ${target.namespace}/${target.pod} has no running container${target.container ? ` "${target.container}"` : ""}`,
    );
  const pids = processesIn(parts.layout, parts.place.cgroup);
  const chosen = await Promise.all(pids.map(async (pid) => ({ pid, inside: ids.has(await containerOf(pid)) })));
  return chosen.filter(({ pid, inside }) => inside && signalPid(pid, signal)).length;
}

async function containerOf(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/cgroup`, "utf8").catch(() => "");
  const path = text.split("\n").find((line) => line.includes("/kubepods")) ?? "";
  return path.split("/").at(-1) ?? "";
}
