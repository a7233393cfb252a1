// The end-to-end suites, as data: what `npm run e2e` offers and what CI rotates through.

export interface Suite {
  readonly name: string;
  /** One sentence for `npm run e2e -- --list`. */
  readonly about: string;
  /** Scenario files under test-clusters/scenarios, in the order they run. */
  readonly files: readonly string[];
  /** Printed beside the time it took; CI starts a suite only when this much is left. */
  readonly budgetMinutes: number;
  /** "joined": one fleet with hub and agents is brought up for the suite; "none": the scenarios bring up what they need. */
  readonly fleet: "joined" | "none";
}

export const suites: readonly Suite[] = [
  {
    name: "core",
    about: "every capability once, then faults of whole clusters, on one fleet",
    files: ["core.e2e.ts", "faults.e2e.ts"],
    budgetMinutes: 12,
    fleet: "joined",
  },
  {
    name: "clusters",
    about: "clusters come up isolated, and down, Ctrl-C and kill -9 leave nothing behind",
    files: ["clusters.e2e.ts"],
    budgetMinutes: 6,
    fleet: "none",
  },
  {
    name: "package",
    about: "the npm package installs into an empty prefix and runs",
    files: ["package.e2e.ts"],
    budgetMinutes: 4,
    fleet: "none",
  },
];
