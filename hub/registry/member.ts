// A member of the fleet as the hub records it (hard state, unlike the registry that agents rebuild). Written by
// join.ts and the operator; read at every authenticated call. Pure.
import { parseClusterName, type ClusterName } from "../../shared/ids.ts";
import { ok, rejected, type Result } from "../../shared/result.ts";

export type MemberState = "accepted" | "pending" | "revoked" | "left";

export interface Member {
  readonly cluster: ClusterName;
  readonly state: MemberState;
  /** SHA-256 (hex) of the agent keys in use: the current one and, around a renewal, its successor. */
  readonly agentSpkis: readonly string[];
  readonly clusterCaSpki: string;
  readonly joinedAtMs: number;
  /** When an operator let it in; absent where the token alone was enough. */
  readonly acceptedAtMs?: number;
  readonly tokenId: string;
}

const prefix = "!member/";
const states: ReadonlySet<string> = new Set<MemberState>(["accepted", "pending", "revoked", "left"]);

/** `!` cannot begin a cluster's name, so no record of an agent can ever have this key. */
export function memberKey(cluster: ClusterName): string {
  return `${prefix}${cluster}`;
}

export function isMemberKey(key: string): boolean {
  return key.startsWith(prefix);
}

export function encodeMember(member: Member): string {
  return JSON.stringify(member);
}

export function decodeMember(key: string, text: string): Result<Member> {
  try {
    const member = JSON.parse(text) as Member;
    const cluster = parseClusterName(member.cluster);
    const whole =
      cluster.ok &&
      memberKey(cluster.value) === key &&
      states.has(member.state) &&
      Array.isArray(member.agentSpkis) &&
      typeof member.clusterCaSpki === "string";
    return whole ? ok(member) : corrupt(key);
  } catch {
    return corrupt(key);
  }
}

function corrupt(key: string): Result<Member> {
  return rejected("ISTHMUS_RECORD_CORRUPT", `the stored record ${key} is malformed`);
}

/**
 * The keys a member may use after a renewal: the one that asked and the new one. Not the last two ever issued: when
 * replies are lost an agent asks again and again with the same old key, which must stay good until a new one is used.
 */
export function renewedSpkis(usedSpki: string, newSpki: string): readonly string[] {
  return usedSpki === newSpki ? [usedSpki] : [usedSpki, newSpki];
}
