// Every Redis key of Isthmus. All carry one hash tag, `{<fleet domain>}`: a script's keys then share a slot, and an ACL
// can be `~isthmus:{acme.mesh}:*`.
import type { ClusterName, FleetDomain } from "../../shared/ids.ts";

export interface RedisKeys {
  /** Hash: incarnation, revision, lineage, restored. */
  readonly meta: string;
  /** Hash: record key -> `<revision> <JSON>`; members too, under `!member/<cluster>`. */
  readonly records: string;
  /** Stream with ids `<revision>-0`: the order of changes and the wake-up of hubs. */
  readonly stream: string;
  /** Hash: SPKI hash -> cluster; one key pair is never signed for two clusters. */
  readonly boundSpkis: string;
  /** Sorted set: token id by expiry. */
  readonly tokens: string;
  token(id: string): string;
  /** Hash: which publisher session of a cluster is the newest, and its last write. */
  writer(cluster: ClusterName): string;
  /** Set: record keys of a cluster. */
  owned(cluster: ClusterName): string;
  /** Hash: pod -> last status report of a cluster's agents. */
  reports(cluster: ClusterName): string;
  /** Result of an operator's write, kept for a while: the idempotency key of one mutation. */
  write(id: string): string;
}

export function redisKeys(fleet: FleetDomain): RedisKeys {
  const base = `isthmus:{${fleet}}`;
  return {
    meta: `${base}:meta`,
    records: `${base}:records`,
    stream: `${base}:changes`,
    boundSpkis: `${base}:spkis`,
    tokens: `${base}:tokens`,
    token: (id) => `${base}:token:${id}`,
    writer: (cluster) => `${base}:writer:${cluster}`,
    owned: (cluster) => `${base}:owned:${cluster}`,
    reports: (cluster) => `${base}:reports:${cluster}`,
    write: (id) => `${base}:write:${id}`,
  };
}
