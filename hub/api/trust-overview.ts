// What `isthmus trust` shows: the roots, the rotation that runs and who holds it up, and what each member trusts and uses. The
// CLI only prints it.
import type { Authority } from "../ca/authority.ts";
import { fingerprintOf } from "../ca/root.ts";
import type { ReplicaEvidence, RootUse } from "../rotation/evidence.ts";
import { useOf } from "../rotation/evidence.ts";
import type { Blocker } from "../rotation/gate.ts";
import { reversible, type PastRotation, type Rotation, type RootState } from "../rotation/rotation.ts";
import type { RotationDriver } from "./rotation.ts";
import type { SigningProblem } from "./signing-watch.ts";

export interface RootOverview {
  readonly id: string;
  readonly kind: string;
  readonly state: RootState;
  /** SHA-256 of the certificate; empty while it waits for one. */
  readonly fingerprint: string;
  readonly notAfterMs: number;
}

export type AgentTrust = Pick<ReplicaEvidence, "pod" | "bundleSequence" | "proxies"> & {
  readonly roots: readonly ({ readonly id: string } & Pick<
    RootUse,
    "trustedBy" | "usedBy" | "provenBy" | "agentCertificate" | "clusterCa"
  >)[];
};

export interface MemberTrust {
  readonly cluster: string;
  readonly away: boolean;
  readonly setAside: boolean;
  readonly agents: readonly AgentTrust[];
}

export interface TrustOverview {
  readonly fleetDomain: string;
  readonly bundleSequence: number;
  readonly roots: readonly RootOverview[];
  readonly rotation?: Rotation & { readonly reversible: boolean; readonly blockers: readonly Blocker[] };
  readonly lastRotation?: PastRotation;
  /** Members whose cluster CA an operator wants renewed, and it is not yet. */
  readonly reissue: readonly string[];
  readonly members: readonly MemberTrust[];
  /** What is wrong with the authority that signs. */
  readonly signing: readonly SigningProblem[];
}

export async function trustOverview(
  authority: Authority,
  driver: RotationDriver,
  signing: readonly SigningProblem[],
): Promise<TrustOverview> {
  const { roots, rotation, lastRotation, reissue = [] } = authority.trust();
  const opened = new Map(authority.roots().map((root) => [root.id, root]));
  const gate = await driver.gate();
  const members = driver.evidence().map(({ cluster, replicas, silent }) => ({
    cluster,
    away: replicas.length === 0 && silent.length === 0,
    setAside: rotation?.setAside.includes(cluster) === true,
    agents: replicas.map((replica) => agentTrust(replica, [...opened.keys()])),
  }));
  return {
    fleetDomain: authority.fleetDomain,
    bundleSequence: authority.bundle().sequence,
    roots: roots.map(({ id, state, kind = "self" }) => {
      const root = opened.get(id);
      const fingerprint = root === undefined ? "" : fingerprintOf(root);
      return { id, kind, state, fingerprint, notAfterMs: root?.facts.notAfterMs ?? 0 };
    }),
    ...(rotation === undefined
      ? {}
      : { rotation: { ...rotation, reversible: reversible.has(rotation.step), blockers: gate?.blockers ?? [] } }),
    ...(lastRotation === undefined ? {} : { lastRotation }),
    reissue,
    members,
    signing,
  };
}

function agentTrust(replica: ReplicaEvidence, ids: readonly string[]): AgentTrust {
  const { pod, bundleSequence, proxies } = replica;
  const roots = ids.map((id) => {
    const { trustedBy, usedBy, provenBy, agentCertificate, clusterCa } = useOf(replica, id);
    return { id, trustedBy, usedBy, provenBy, agentCertificate, clusterCa };
  });
  return { pod, bundleSequence, proxies, roots };
}
