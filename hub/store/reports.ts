// Last status report of every agent pod, in Redis so that any hub can answer `isthmus status`. Soft state: it expires.
import type { Redis } from "ioredis";
import type { StatusReport } from "../../shared/grpc/fleet-messages.ts";
import type { ClusterName } from "../../shared/ids.ts";
import type { RedisKeys } from "./keys.ts";

/** A pod that has not reported for this long is forgotten (agents report every 10 s). */
const keepMs = 600_000;
const keepAllMs = 86_400_000;

export interface StoredReport {
  readonly report: StatusReport;
  /** By the hub's clock: agents' clocks decide nothing here. */
  readonly receivedAtMs: number;
}

export type Reports = ReturnType<typeof openReports>;

export function openReports(redis: Redis, keys: RedisKeys) {
  return {
    async store(cluster: ClusterName, report: StatusReport, nowMs: number): Promise<void> {
      const stored: StoredReport = { report, receivedAtMs: nowMs };
      const key = keys.reports(cluster);
      await redis.pipeline().hset(key, report.pod, JSON.stringify(stored)).pexpire(key, keepAllMs).exec();
    },

    /** Newest first; of pods that are gone only the very last report is kept, to say when the cluster was last seen. */
    async list(cluster: ClusterName, nowMs: number): Promise<readonly StoredReport[]> {
      const entries = Object.entries(await redis.hgetall(keys.reports(cluster)))
        .map(([pod, text]) => ({ pod, stored: JSON.parse(text) as StoredReport }))
        .sort((a, b) => b.stored.receivedAtMs - a.stored.receivedAtMs);
      const old = entries.filter(({ stored }, at) => at > 0 && nowMs - stored.receivedAtMs > keepMs);
      if (old.length > 0) await redis.hdel(keys.reports(cluster), ...old.map(({ pod }) => pod));
      return entries.filter((entry) => !old.includes(entry)).map(({ stored }) => stored);
    },
  };
}
