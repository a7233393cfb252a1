// Members of the fleet in Redis: read fresh when memory is not enough, changed by compare-and-set. Joining itself is
// part of redeeming a token (tokens.ts), because both must happen or neither.
import type { ClusterName } from "../../shared/ids.ts";
import { memberKey, type Member } from "../registry/member.ts";
import type { RedisKeys } from "./keys.ts";
import type { LiveRegistry, StoredMember } from "./live-registry.ts";
import type { MembershipMemory } from "./membership-memory.ts";
import { streamLength, type RedisRegistry } from "./redis-registry.ts";
import type { Scripts } from "./scripts.ts";

export interface MembersDeps {
  readonly live: LiveRegistry;
  readonly memory: MembershipMemory;
  readonly registry: RedisRegistry;
  readonly scripts: Scripts;
  readonly keys: RedisKeys;
}

export type RebindStatus = "written" | "conflict" | "wrong-cluster";
export type Members = ReturnType<typeof openMembers>;

export function openMembers({ live, memory, registry, scripts, keys }: MembersDeps) {
  const stored = async (cluster: ClusterName): Promise<StoredMember | undefined> => {
    const change = await registry.record(memberKey(cluster));
    const member = memory.open(memberKey(cluster), change?.text);
    return member.ok ? { member: member.value, revision: change?.revision ?? 0 } : undefined;
  };
  return {
    stored,

    /**
     * The member, from memory when `suffices` says so; else from Redis, which may know of a join or a renewal that has not
     * reached this hub's feed yet. So nobody is turned away for good by a hub that has just started or lost its Redis:
     * that throws, and the caller tries again.
     */
    async find(cluster: ClusterName, suffices: (member: Member) => boolean): Promise<Member | undefined> {
      const known = live.members.get(cluster)?.member;
      return known !== undefined && suffices(known) ? known : (await stored(cluster))?.member;
    },

    /** New keys of a member at renewal; refuses a key that another cluster uses. */
    async rebind(before: StoredMember, after: Member, newSpkis: readonly string[]): Promise<RebindStatus> {
      const places = [keys.meta, keys.records, keys.stream, keys.boundSpkis];
      const { cluster } = after;
      const unchanged = after === before.member ? memory.current(cluster) : undefined;
      const text = unchanged ?? memory.seal(after);
      const head = [cluster, memberKey(cluster), text, before.revision, streamLength];
      const [status] = await scripts.call("rebind", places, [...head, ...newSpkis]);
      if (status === "written") {
        memory.open(memberKey(cluster), text);
        await memory.saved();
      }
      return String(status) as RebindStatus;
    },
  };
}
