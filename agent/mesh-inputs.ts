// Everything the agent knows, put together for buildIr: the platform, the fleet's registry and the
// configuration. Carries only; arrays keep their identity while nothing in them changed.
import type { ClusterName, FleetDomain } from "../shared/ids.ts";
import type { RegistryRecord } from "../shared/registry.ts";
import type { ForeignFleet, MeshInputs } from "./ir/inputs.ts";
import type { Platform, PlatformInputs } from "./platform.ts";
import type { PolicyCopies } from "./policy-copies.ts";

export interface MeshSources {
  readonly cluster: ClusterName;
  readonly fleetDomain: FleetDomain;
  /** The agent's own. */
  readonly namespace: string;
  readonly permissive: boolean;
  readonly egress: boolean;
  readonly region: string;
  readonly zone: string;
  readonly policyFrom: readonly string[];
  readonly platform: Pick<Platform, "synced" | "awaited" | "inputs" | "gateways" | "storesCopies">;
  /** The platform's, with what is known of workloads that fail. */
  readonly asTheyAnswer: (own: PlatformInputs) => PlatformInputs;
  /** For a platform that stores no copies of other members' policy. */
  readonly copies: PolicyCopies;
  /** Undefined until the first complete list arrived or the last good one was loaded. */
  readonly remote: () => readonly RegistryRecord[] | undefined;
  readonly revokedTrustDomains: () => readonly string[];
  readonly foreignFleets: () => readonly ForeignFleet[];
}

/** Undefined while anything is incomplete: a push from half of the truth would delete the other half from every proxy. */
export function meshInputs(sources: MeshSources): MeshInputs | undefined {
  const remote = sources.remote();
  if (remote === undefined || !sources.platform.synced()) return undefined;
  const { cluster, fleetDomain, namespace: systemNamespace, permissive, egress, region, zone } = sources;
  const { platform, copies, policyFrom } = sources;
  const revokedTrustDomains = sources.revokedTrustDomains();
  const replicas = { cluster, fleetDomain, remote, revokedTrustDomains, policyFrom };
  const own = sources.asTheyAnswer(platform.inputs());
  return {
    ...(platform.storesCopies ? own : copies.added(own, replicas)),
    ...{ systemNamespace, permissive, egress, ...replicas },
    ownGateways: platform.gateways(),
    ownLocality: { region, zone },
    revokedTrustDomains: sources.revokedTrustDomains(),
    foreignFleets: sources.foreignFleets(),
  };
}

/** What is not complete yet, for readiness and the log; empty when `meshInputs` answers. */
export function missingSources(sources: MeshSources): readonly string[] {
  const missing: string[] = [];
  if (!sources.platform.synced()) missing.push(sources.platform.awaited);
  if (sources.remote() === undefined) missing.push("the fleet's registry from the hub");
  return missing;
}
