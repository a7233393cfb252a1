// Every metric of the agent: one table of names, helps and labels. Labels are closed sets or bounded by what is configured.
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

export interface AgentMetrics {
  readonly registry: Registry;
  readonly pushes: Counter;
  readonly pushSeconds: Histogram;
  readonly xdsBytes: Counter<"type">;
  readonly xdsNacks: Counter<"type">;
  readonly streams: Gauge;
  readonly admissions: Counter<"outcome">;
  readonly problems: Gauge;
  readonly hubConnected: Gauge;
  readonly leading: Gauge;
  readonly cutOff: Gauge;
  readonly clockSkew: Gauge;
  /** Asked at scrape time. */
  setCertificateLives(read: () => ReadonlyMap<string, number>): void;
}

export function createAgentMetrics(): AgentMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  return {
    registry,
    ...trustMetrics(registers),
    pushes: new Counter({
      registers,
      name: "isthmus_agent_pushes_total",
      help: "rebuilds of the mesh from its inputs",
    }),
    pushSeconds: new Histogram({
      registers,
      name: "isthmus_agent_push_seconds",
      help: "time of one rebuild: inputs to published snapshots",
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1],
    }),
    xdsBytes: new Counter({
      registers,
      name: "isthmus_agent_xds_sent_bytes_total",
      help: "bytes of resources sent to proxies",
      labelNames: ["type"],
    }),
    xdsNacks: new Counter({
      registers,
      name: "isthmus_agent_xds_nacks_total",
      help: "responses that a proxy refused",
      labelNames: ["type"],
    }),
    streams: new Gauge({ registers, name: "isthmus_agent_xds_streams", help: "open ADS streams" }),
    admissions: new Counter({
      registers,
      name: "isthmus_agent_admissions_total",
      help: "answers of the webhook: of the injector, and to conversions of SMI objects",
      labelNames: ["outcome"],
    }),
    problems: new Gauge({
      registers,
      name: "isthmus_agent_problems",
      help: "objects and proxies that a person must look at",
    }),
    hubConnected: new Gauge({
      registers,
      name: "isthmus_agent_hub_connected",
      help: "1 while the hub answers; 0: the registry is frozen at its last good state",
    }),
    leading: new Gauge({
      registers,
      name: "isthmus_agent_leading",
      help: "1 in the replica that writes status and publishes",
    }),
  };
}

/** What a member's standing and its certificates have come to. */
function trustMetrics(registers: Registry[]): Pick<AgentMetrics, "setCertificateLives" | "cutOff" | "clockSkew"> {
  let certificateLives: () => ReadonlyMap<string, number> = () => new Map();
  new Gauge({
    registers,
    name: "isthmus_agent_certificate_life_ratio",
    help: "how much of a certificate's life is over (0 to 1): agent, cluster-ca, the oldest workload, the oldest root",
    labelNames: ["certificate"],
    collect() {
      this.reset();
      for (const [certificate, over] of certificateLives()) this.set({ certificate }, over);
    },
  });
  return {
    setCertificateLives: (read) => {
      certificateLives = read;
    },
    clockSkew: new Gauge({
      registers,
      name: "isthmus_agent_clock_skew_seconds",
      help: "how far this machine's clock is ahead of the hub's; more than 240 either way is a problem",
    }),
    cutOff: new Gauge({
      registers,
      name: "isthmus_agent_cut_off",
      help: "1 while the hub says that this member was revoked or has left: no other member is called or answered",
    }),
  };
}
