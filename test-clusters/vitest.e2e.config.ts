// Scenarios on real clusters. Rows of a file run side by side (each in a namespace of its own); files run one after the
// other, because the later ones break whole clusters.
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** By name, and never by what failed or took long the last time: the scenarios that break clusters must come last. */
class ByName extends BaseSequencer {
  override sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return Promise.resolve([...files].sort((a, b) => (a.moduleId < b.moduleId ? -1 : 1)));
  }
}

export const config = defineConfig({
  test: {
    root: process.cwd(),
    include: ["test-clusters/scenarios/**/*.e2e.ts"],
    testTimeout: 120_000,
    hookTimeout: 180_000,
    fileParallelism: false,
    sequence: { sequencer: ByName },
    maxConcurrency: 4,
    // a real fleet cannot be rolled back: a second try would hide what the first one broke
    retry: 0,
    pool: "forks",
    disableConsoleIntercept: true,
  },
});
export { config as default };
