// One running cluster as its users see it: kubectl, the faults that can be put into it, and where things are.
import type { KubeBinaries } from "./binaries/kube.ts";
import { clusterFaults, type ClusterFaults } from "./faults/cluster-faults.ts";
import type { CgroupLayout } from "./machine/cgroups.ts";
import { runCommand } from "./machine/command.ts";
import type { ClusterNetwork } from "./network/addresses.ts";
import { clusterPlace } from "./node/place.ts";
import type { RunPaths } from "./run/paths.ts";

export interface KubectlOptions {
  readonly input?: string;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

export interface Cluster {
  readonly name: string;
  /** Name of the context in the fleet's kubeconfig: the cluster's own. */
  readonly context: string;
  readonly kubeconfigPath: string;
  readonly server: string;
  readonly nodeName: string;
  readonly nodeAddress: string;
  readonly netns: string;
  readonly lbPool: string;
  /** The API server's audit log: what the accounts of the product asked for, one JSON object per line. */
  readonly auditLog: string;
  /** Standard output of kubectl; throws with its message otherwise. */
  kubectl(args: readonly string[], options?: KubectlOptions): Promise<string>;
  readonly faults: ClusterFaults;
}

export interface ClusterParts {
  readonly paths: RunPaths;
  readonly network: ClusterNetwork;
  readonly kube: KubeBinaries;
  readonly layout: CgroupLayout;
}

export function openCluster(parts: ClusterParts): Cluster {
  const { paths, network, kube } = parts;
  const place = clusterPlace(paths, network);
  const kubectl = (args: readonly string[], options: KubectlOptions = {}) =>
    runCommand(kube.programs.kubectl, ["--kubeconfig", paths.kubeconfig, "--context", place.cluster, ...args], options);
  return {
    name: place.cluster,
    context: place.cluster,
    kubeconfigPath: paths.kubeconfig,
    server: place.server,
    nodeName: place.nodeName,
    nodeAddress: place.nodeAddress,
    netns: place.netns,
    lbPool: place.lbPool,
    auditLog: place.auditLog,
    kubectl,
    faults: clusterFaults({ ...parts, place, kubectl }),
  };
}
