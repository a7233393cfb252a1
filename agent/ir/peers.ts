// The other members as this one sees them: those that published anything and whose trust is not revoked. A member always
// publishes its gateway record, even an empty one, so a member that only calls is known too. Called by build.ts and fleet-union.ts.
import { parseClusterName, trustDomainOf, type ClusterName } from "../../shared/ids.ts";
import type { Problem } from "../../shared/result.ts";
import type { MeshInputs } from "./inputs.ts";
import { stage, topic, type Memory } from "./memo.ts";
import { sortedUnique } from "./order.ts";
import type { PeerIr } from "./types.ts";

export interface Peers {
  readonly peers: readonly PeerIr[];
  readonly clusters: ReadonlySet<string>;
  readonly problems: readonly Problem[];
}

function peersOf(inputs: MeshInputs): Peers {
  const peers: PeerIr[] = [];
  const problems: Problem[] = [];
  const revoked = new Set(inputs.revokedTrustDomains);
  for (const name of sortedUnique(inputs.remote.map((record) => record.cluster))) {
    const cluster = parseClusterName(name);
    if (!cluster.ok) {
      problems.push(...cluster.error.map((problem) => ({ ...problem, object: { kind: "Member", name } })));
      continue;
    }
    const trustDomain = trustDomainOf(cluster.value, inputs.fleetDomain);
    if (cluster.value !== inputs.cluster && !revoked.has(trustDomain))
      peers.push({ cluster: cluster.value, trustDomain });
  }
  return { peers, clusters: new Set<ClusterName>(peers.map((peer) => peer.cluster)), problems };
}

const peersTopic = topic<Peers>("peers");

export function buildPeers(memory: Memory, inputs: MeshInputs): Peers {
  const needs = [inputs.remote, inputs.cluster, inputs.fleetDomain, sortedUnique(inputs.revokedTrustDomains).join(" ")];
  return stage(memory, peersTopic, needs, () => peersOf(inputs));
}
