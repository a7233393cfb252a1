// What members have shown of the roots that they trust and use, as gate.ts decides on it. Of each replica of an agent by
// itself: each serves its own share of the proxies, and each holds certificates in its own memory.

/** Of one root, seen from one replica. */
export interface RootUse {
  /** Proxies that have acknowledged it in everything they verify peers with. */
  readonly trustedBy: number;
  /** Proxies whose acknowledged certificate chains to it. */
  readonly usedBy: number;
  /** Proxies that verified this replica by it: their trust file holds it. */
  readonly provenBy: number;
  readonly agentCertificate: boolean;
  readonly clusterCa: boolean;
  /** Names of some proxies of which the three numbers are not true yet. */
  readonly untrusting: readonly string[];
  readonly notUsing: readonly string[];
  readonly unproven: readonly string[];
}

export interface ReplicaEvidence {
  readonly pod: string;
  readonly bundleSequence: number;
  readonly proxies: number;
  /** Sidecars that run in the member and have no stream to this replica. */
  readonly unserved: readonly string[];
  /** How long a workload's certificate lives in this member. */
  readonly svidTtlMs: number;
  /** By root id; a root that is not mentioned is neither trusted nor used. */
  readonly roots: ReadonlyMap<string, RootUse>;
}

export interface MemberEvidence {
  readonly cluster: string;
  /** Replicas that were heard of lately. None: the member is away. */
  readonly replicas: readonly ReplicaEvidence[];
  /** Replicas that were heard of lately and do not say what they trust: agents of an older version. */
  readonly silent: readonly string[];
}

const unused: RootUse = {
  trustedBy: 0,
  usedBy: 0,
  provenBy: 0,
  agentCertificate: false,
  clusterCa: false,
  untrusting: [],
  notUsing: [],
  unproven: [],
};

export function useOf(replica: ReplicaEvidence, root: string): RootUse {
  return replica.roots.get(root) ?? unused;
}
