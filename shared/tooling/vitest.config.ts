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
    // modules have no state of their own and no side effect on import, so files may share a process: half of the CPU time
    isolate: false,
    // one more than the cores that are asked for: many files wait for timers and for other programs
    maxWorkers: 3,
    env: { ISTHMUS_TEST: "1" },
  },
});
export { config as default };
