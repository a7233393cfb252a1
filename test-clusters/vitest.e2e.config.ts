// Scenarios on real clusters. Rows of a file run side by side (each in a namespace of its own); files run one after the
// other, because the later ones break whole clusters.
import { defineConfig } from "vitest/config";

export const config = defineConfig({
  test: {
    root: process.cwd(),
    include: ["test-clusters/scenarios/**/*.e2e.ts"],
    testTimeout: 120_000,
    hookTimeout: 180_000,
    fileParallelism: false,
    maxConcurrency: 4,
    // a real fleet cannot be rolled back: a second try would hide what the first one broke
    retry: 0,
    pool: "forks",
    disableConsoleIntercept: true,
  },
});
export { config as default };
