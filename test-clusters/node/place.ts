// Where one cluster lives: names, addresses and folders that its programs and configuration files are made from.
import type { ClusterNetwork } from "../network/addresses.ts";
import { clusterPaths, netnsPath, type RunPaths } from "../run/paths.ts";

export interface ClusterPlace {
  readonly cluster: string;
  readonly nodeName: string;
  readonly nodeAddress: string;
  readonly apiPort: number;
  readonly server: string;
  readonly netns: string;
  readonly lbPool: string;
  readonly home: string;
  readonly runtime: string;
  readonly pki: string;
  readonly auditPolicy: string;
  readonly auditLog: string;
  readonly socket: string;
  readonly containerdRoot: string;
  /** Path below every cgroup hierarchy. */
  readonly cgroup: string;
}

const API_PORT = 6443;

export function clusterPlace(paths: RunPaths, network: ClusterNetwork): ClusterPlace {
  const own = clusterPaths(paths, network.name);
  return {
    cluster: network.name,
    nodeName: `${network.name}-node`,
    nodeAddress: network.nodeAddress,
    apiPort: API_PORT,
    server: `https://${network.nodeAddress}:${API_PORT}`,
    netns: netnsPath(paths, network.name),
    lbPool: network.lbPool,
    home: own.home,
    runtime: own.runtime,
    pki: own.pki,
    auditPolicy: `${own.home}/audit-policy.yaml`,
    auditLog: `${own.home}/audit.log`,
    socket: own.socket,
    containerdRoot: own.containerdRoot,
    cgroup: `${paths.cgroup}/${network.name}`,
  };
}
