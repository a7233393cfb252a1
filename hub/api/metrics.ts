// Every metric of the hub: name, help, labels. Counters are moved where things happen; gauges are asked at scrape time.
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

export interface GaugeSources {
  readonly records: () => number;
  readonly members: () => number;
  readonly revision: () => number;
  readonly redisConnected: () => boolean;
  readonly restored: () => boolean;
  readonly restores: () => number;
  readonly corruptRecords: () => number;
  readonly tamperedMembers: () => number;
  readonly sessions: (kind: "publish" | "watch") => number;
}

export type HubMetrics = ReturnType<typeof hubMetrics>;

/** Counters before the parts exist; `observe` adds the gauges once they do. */
export function hubMetrics() {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, prefix: "isthmus_hub_" });
  return {
    registry,
    joins: new Counter({
      name: "isthmus_hub_joins_total",
      help: "Join requests by result; `used` and `wrong-cluster` may be a stolen token",
      labelNames: ["result"],
      registers,
    }),
    published: new Counter({
      name: "isthmus_hub_published_records_total",
      help: "Records that agents published, by what became of them",
      labelNames: ["result"],
      registers,
    }),
    writeSeconds: new Histogram({
      name: "isthmus_hub_write_seconds",
      help: "From taking a batch of an agent until Redis has it on its disk",
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2],
      registers,
    }),
    resyncs: new Counter({
      name: "isthmus_hub_resyncs_total",
      help: "Full lists sent to watchers, by reason",
      labelNames: ["reason"],
      registers,
    }),
    fenced: new Counter({
      name: "isthmus_hub_fenced_publishers_total",
      help: "Publish streams ended because a newer publisher of the same cluster exists",
      registers,
    }),
  };
}

export function observe({ registry }: HubMetrics, sources: GaugeSources): void {
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name: `isthmus_hub_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  gauge("records", "Records in the registry", sources.records);
  gauge("members", "Members of the fleet that are accepted", sources.members);
  gauge("revision", "Revision of the registry", sources.revision);
  gauge("redis_connected", "1 while the change feed follows Redis", () => Number(sources.redisConnected()));
  gauge("restored", "1 while older data in Redis waits for an operator's word", () => Number(sources.restored()));
  gauge("restores", "Times Redis was found to hold older data since this hub started", sources.restores);
  gauge("corrupt_records", "Malformed records met in Redis since this hub started", sources.corruptRecords);
  gauge("tampered_members", "Member records in Redis that were changed or older than known", sources.tamperedMembers);
  gauge("publish_sessions", "Open publish streams", () => sources.sessions("publish"));
  gauge("watch_sessions", "Open watch streams", () => sources.sessions("watch"));
}
