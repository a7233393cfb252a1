// Unit, golden, property, feature and contract tests: everything that needs no cluster.
import { defineConfig } from "vitest/config";

export const config = defineConfig({
  test: {
    root: process.cwd(),
    include: ["{hub,agent,shared,cli,deploy,test-clusters}/**/*.test.ts"],
    testTimeout: 20_000,
    hookTimeout: 30_000,
    // forks: native crypto workers and child processes behave as in production
    pool: "forks",
    maxWorkers: 2,
    env: { ISTHMUS_TEST: "1" },
  },
});
export { config as default };
