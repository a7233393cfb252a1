// The end-to-end suites, as data: what `npm run e2e` offers and what CI rotates through.

export interface Suite {
  readonly name: string;
  /** One sentence for `npm run e2e -- --list`. */
  readonly about: string;
  /** Scenario files under test-clusters/scenarios, in the order they run. */
  readonly files: readonly string[];
  /** Printed beside the time it took; CI starts a suite only when this much is left. */
  readonly budgetMinutes: number;
  /** One fleet is brought up for the suite: "joined" clusters or "sites"; "none": the scenarios bring up what they need. */
  readonly fleet: "joined" | "sites" | "none";
  readonly needsRoot: boolean;
  /** The agents are told of a Prometheus, which a scenario starts. */
  readonly trafficMetrics?: true;
  /** Only the rows whose names match. */
  readonly rows?: string;
}

export const suites: readonly Suite[] = [
  {
    name: "smoke",
    about: "the first rows of the sites suite: calls across, identity, policy",
    files: ["core.e2e.ts"],
    rows: "across members|a call without any policy",
    budgetMinutes: 2,
    fleet: "sites",
    needsRoot: false,
  },
  {
    name: "sites",
    about:
      "the rows of core that need no kubelet, and what only a site can do wrong, on three sites; as root with redirects",
    files: ["core.e2e.ts", "command-line.e2e.ts", "explain.e2e.ts", "metrics.e2e.ts", "faults.e2e.ts", "sites.e2e.ts"],
    budgetMinutes: 5,
    fleet: "sites",
    needsRoot: false,
  },
  {
    name: "trust",
    about: "a member is revoked, leaves and comes back; no secret of the run is anywhere; on three sites; no root",
    files: ["trust.e2e.ts"],
    budgetMinutes: 4,
    fleet: "sites",
    needsRoot: false,
  },
  {
    name: "rotation",
    about:
      "the root is rotated, taken back and thrown out on three sites under load, the hub killed on the way; no root",
    files: ["rotation.e2e.ts"],
    budgetMinutes: 5,
    fleet: "none",
    needsRoot: false,
  },
  {
    name: "smi",
    about: "SMI row by row: access, splits, modes and protocols, on three sites; no root",
    files: ["smi.e2e.ts"],
    budgetMinutes: 8,
    fleet: "sites",
    needsRoot: false,
  },
  {
    name: "smi-pods",
    about:
      "the same rows of SMI on real pods, and those that need a kubelet or an API server: probes, Jobs, TrafficMetrics",
    files: ["smi.e2e.ts", "traffic-metrics.e2e.ts"],
    trafficMetrics: true,
    budgetMinutes: 8,
    fleet: "joined",
    needsRoot: true,
  },
  {
    name: "core",
    about: "every capability once, faults of whole clusters, a site among them; then which permissions all that used",
    files: [
      "core.e2e.ts",
      "command-line.e2e.ts",
      "explain.e2e.ts",
      "metrics.e2e.ts",
      "faults.e2e.ts",
      "mixed.e2e.ts",
      "rbac.e2e.ts",
      "trust.e2e.ts",
    ],
    budgetMinutes: 17,
    fleet: "joined",
    needsRoot: true,
  },
  {
    name: "clusters",
    about: "clusters come up isolated, and down, Ctrl-C and kill -9 leave nothing behind",
    files: ["clusters.e2e.ts"],
    budgetMinutes: 6,
    fleet: "none",
    needsRoot: true,
  },
  {
    name: "policy",
    about: "500 random policy sets: what explain says is what a real Envoy answers; no fleet, no root",
    files: ["policy.e2e.ts"],
    budgetMinutes: 3,
    fleet: "none",
    needsRoot: false,
  },
  {
    name: "package",
    about: "the npm package installs into an empty prefix and runs; the hub's chart runs as pods and is joined",
    files: ["package.e2e.ts", "hub-chart.e2e.ts"],
    budgetMinutes: 8,
    fleet: "none",
    needsRoot: true,
  },
];
