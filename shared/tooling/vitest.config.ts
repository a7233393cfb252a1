// Unit, golden, property and contract tests: everything that needs no cluster. Those with an Envoy, an API server or a
// kernel's tables in them (`*.envoy.test.ts`, `*.feature.test.ts`) take half of the time for a tenth of the tests: they
// have a run of their own in `npm test` (vitest.features.config.ts), so that the check stays quick enough to be run often.
import { defineConfig } from "vitest/config";

const all = "{hub,agent,shared,cli,deploy,test-clusters}/**/*.test.ts";
const withRealParts = "{hub,agent,shared,cli,deploy,test-clusters}/**/*.{envoy,feature}.test.ts";

export const testsOf = (kind: "units" | "features") =>
  defineConfig({
    test: {
      root: process.cwd(),
      ...(kind === "features" ? { include: [withRealParts] } : { include: [all], exclude: [withRealParts] }),
      testTimeout: 20_000,
      hookTimeout: 30_000,
      // forks: native crypto workers and child processes behave as in production
      pool: "forks",
      // modules have no state of their own and no side effect on import, so files may share a process: half of the CPU time
      isolate: false,
      // one more than the cores that are asked for: many files wait for timers and for other programs
      maxWorkers: 3,
      env: { ISTHMUS_TEST: "1" },
      setupFiles: ["shared/tooling/fast-check-seed.ts"],
    },
  });

export const config = testsOf("units");
export { config as default };
