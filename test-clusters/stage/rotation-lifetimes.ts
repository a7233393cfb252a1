// Lifetimes short enough to see a whole rotation in minutes. All of them are configuration of the product; no clock is changed.
// The shortest that the product allows for workloads, and cluster CAs that are renewed under way.

export const lifetimes = { workload_s: 60, cluster_ca_s: 600, agent_s: 600, retire_skew_s: 5 } as const;

/** Words of `isthmus hub`. */
export const hubLifetimes: readonly string[] = [
  ...["--cluster-ca-ttl", `${lifetimes.cluster_ca_s}s`, "--agent-ttl", `${lifetimes.agent_s}s`],
  ...["--retire-skew", `${lifetimes.retire_skew_s}s`],
];

/** Words of `isthmus site`. */
export const siteLifetimes: readonly string[] = ["--svid-ttl", `${lifetimes.workload_s}s`];

/** Words of `isthmus join`. */
export const chartLifetimes: readonly string[] = ["--set", `agent.svidTtlSeconds=${lifetimes.workload_s}`];
