// Which Kubernetes binaries are used: always one set from one source, never a mixture. Pure: it decides from what was
// found; kube.ts looks and builds.

export const kubePrograms = [
  "etcd",
  "kube-apiserver",
  "kube-controller-manager",
  "kube-scheduler",
  "kubelet",
  "kube-proxy",
  "kubectl",
] as const;

export type KubeProgram = (typeof kubePrograms)[number];

export interface FoundProgram {
  readonly path: string;
  /** Such as "v1.34.4"; undefined when the program does not say. */
  readonly version: string | undefined;
}

export type FoundSet = Readonly<Partial<Record<KubeProgram, FoundProgram>>>;

/** What the machine can host: newer kubelets dropped cgroup v1 and old containerd. */
export interface MachineLimits {
  readonly cgroupVersion: 1 | 2;
  readonly containerdMajor: number;
}

export function minorOf(version: string | undefined): number | undefined {
  const match = /^v?1\.(\d+)\./.exec(version ?? "");
  return match === null ? undefined : Number(match[1]);
}

/** The last minor release whose kubelet runs on containerd 1.x and, unasked, on cgroup v1. */
const LAST_MINOR_FOR_OLD_MACHINES = 34;
/** Kubernetes' version skew policy: the kubelet may be up to three minor releases older than the API server. */
const KUBELET_SKEW = 3;

/** Why the set cannot be used, or undefined when it can. */
export function objectionTo(set: FoundSet, machine: MachineLimits): string | undefined {
  const absent = kubePrograms.filter((name) => set[name] === undefined);
  if (absent.length > 0) return `has no ${absent.join(", ")}`;
  const api = minorOf(set["kube-apiserver"]?.version);
  const kubelet = minorOf(set.kubelet?.version);
  if (api === undefined || kubelet === undefined) return "a program does not tell its version";
  return skewObjection(set, api, kubelet) ?? machineObjection(kubelet, machine);
}

function skewObjection(set: FoundSet, api: number, kubelet: number): string | undefined {
  if (kubelet > api) return `the kubelet (1.${kubelet}) is newer than its API server (1.${api})`;
  if (kubelet < api - KUBELET_SKEW) return `the kubelet (1.${kubelet}) is too old for its API server (1.${api})`;
  for (const name of ["kube-controller-manager", "kube-scheduler"] as const) {
    const minor = minorOf(set[name]?.version);
    if (minor !== api) return `${name} (1.${String(minor)}) is not of the API server's release (1.${api})`;
  }
  return undefined;
}

function machineObjection(kubelet: number, machine: MachineLimits): string | undefined {
  const old = machine.cgroupVersion === 1 || machine.containerdMajor < 2;
  if (!old || kubelet <= LAST_MINOR_FOR_OLD_MACHINES) return undefined;
  const has = `cgroup v${machine.cgroupVersion} and containerd ${machine.containerdMajor}`;
  return `kubelet 1.${kubelet} needs cgroup v2 and containerd 2; this machine has ${has}`;
}
