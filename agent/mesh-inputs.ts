// Everything the agent knows, put together for buildIr: Kubernetes, the fleet's registry, the gateways' addresses and the
// configuration. Carries only; arrays keep their identity while nothing in them changed.
import type { ClusterName, FleetDomain } from "../shared/ids.ts";
import type { GatewayAddress, RegistryRecord } from "../shared/registry.ts";
import type { MeshInputs } from "./ir/inputs.ts";
import type { KubeInputs } from "./kube/kube.ts";

export interface MeshSources {
  readonly cluster: ClusterName;
  readonly fleetDomain: FleetDomain;
  readonly permissive: boolean;
  readonly region: string;
  readonly zone: string;
  readonly kubeSynced: () => boolean;
  readonly kubeInputs: () => KubeInputs;
  /** Undefined until the first complete list arrived or the last good one was loaded. */
  readonly remote: () => readonly RegistryRecord[] | undefined;
  readonly gateways: () => readonly GatewayAddress[];
  readonly revokedTrustDomains: () => readonly string[];
}

/** Undefined while anything is incomplete: a push from half of the truth would delete the other half from every proxy. */
export function meshInputs(sources: MeshSources): MeshInputs | undefined {
  const remote = sources.remote();
  if (remote === undefined || !sources.kubeSynced()) return undefined;
  const { cluster, fleetDomain, permissive, region, zone } = sources;
  return {
    ...sources.kubeInputs(),
    ...{ cluster, fleetDomain, permissive, remote },
    ownGateways: sources.gateways(),
    ownLocality: { region, zone },
    revokedTrustDomains: sources.revokedTrustDomains(),
  };
}

/** What is not complete yet, for readiness and the log; empty when `meshInputs` answers. */
export function missingSources(sources: MeshSources): readonly string[] {
  const missing: string[] = [];
  if (!sources.kubeSynced()) missing.push("the first complete lists of the cluster's objects");
  if (sources.remote() === undefined) missing.push("the fleet's registry from the hub");
  return missing;
}
