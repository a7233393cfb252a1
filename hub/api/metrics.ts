// Every metric of the hub: name, help, labels. Counters are moved where things happen; gauges are asked at scrape time.
import { steps, type Step } from "../rotation/rotation.ts";
import { signingCodes } from "./signing-watch.ts";
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
  readonly rotation: () => Promise<RotationState>;
  /** Codes of what is wrong with the authority that signs. */
  readonly signing: () => readonly string[];
  readonly issuingCaLifeOver: () => number;
  readonly sessions: (kind: "publish" | "watch") => number;
}

/** The rotation that runs, as numbers. */
export interface RotationState {
  /** Empty: none runs. */
  readonly step: Step | "";
  readonly stepSeconds: number;
  /** Members, and the hub itself, that hold it up: those that are away, and the others. */
  readonly away: number;
  readonly waiting: number;
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
  gauge(
    "issuing_ca_life_ratio",
    "Part of the issuing CA's life that is over; 0: the root signs",
    sources.issuingCaLifeOver,
  );
  observeRotation(registry, sources);
  gauge("watch_sessions", "Open watch streams", () => sources.sessions("watch"));
}

/** Every step and code is there at 0 too: an alert on a series that never was does not fire. */
function observeRotation(registry: Registry, { rotation, signing }: GaugeSources): void {
  const registers = [registry];
  new Gauge({
    name: "isthmus_hub_rotation_step",
    help: "1 for the step that a rotation of the root is in",
    labelNames: ["step"],
    registers,
    async collect() {
      const now = await rotation();
      for (const step of [...steps, "reverting"] as const) this.set({ step }, Number(now.step === step));
    },
  });
  new Gauge({
    name: "isthmus_hub_rotation_step_seconds",
    help: "How long the rotation has been in its step; 0: none runs",
    registers,
    async collect() {
      this.set((await rotation()).stepSeconds);
    },
  });
  new Gauge({
    name: "isthmus_hub_rotation_blockers",
    help: "Who holds the rotation up: members (and the hub) that are away, and those that are not ready",
    labelNames: ["why"],
    registers,
    async collect() {
      const { away, waiting } = await rotation();
      this.set({ why: "away" }, away);
      this.set({ why: "not-ready" }, waiting);
    },
  });
  new Gauge({
    name: "isthmus_hub_signing_problem",
    help: "1 while the fleet's key does not sign or its issuing CA is not renewed, by code (isthmus trust says more)",
    labelNames: ["code"],
    registers,
    collect() {
      const codes = signing();
      for (const code of signingCodes) this.set({ code }, Number(codes.includes(code)));
    },
  });
}
