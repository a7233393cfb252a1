// Five hundred random policy sets, each put to a real Envoy and to the verdict that `isthmus explain` and `policy try` give. Seed and
// number are printed; ISTHMUS_POLICY_SEED repeats a run. No fleet, no root: one Envoy at a time is the sidecar of all workloads.
import { expect, test } from "vitest";
import { compareVerdicts } from "../../agent/explain/testing/compare.ts";
import { lineProgress } from "../../shared/progress.ts";
import { ensureEnvoy } from "../../shared/programs/envoy.ts";

const SETS = 500;
/** A run in CI says whether a commit is good, and draws the same sets every time; every other run looks for new ones. */
const drawn = process.env["CI"] === "true" ? 1 : Math.floor(Math.random() * 2 ** 31);
const seed = Number(process.env["ISTHMUS_POLICY_SEED"] ?? drawn);

test(`what explain says is what Envoy answers, for ${SETS} policy sets`, { timeout: 600_000 }, async () => {
  console.info(`seed ${seed}: ISTHMUS_POLICY_SEED=${seed} npm run e2e -- policy`);
  const { sets, calls, allowed, differences } = await compareVerdicts(
    await ensureEnvoy(lineProgress((text) => process.stdout.write(text))),
    SETS,
    seed,
  );
  console.info(`${sets} policy sets of seed ${seed}: ${calls} calls, ${allowed} of them allowed`);
  expect(differences, `seed ${seed}`).toEqual([]);
  expect(sets).toBe(SETS);
  // a comparison of refusals alone, or of grants alone, would prove little
  expect(allowed).toBeGreaterThan(calls / 10);
  expect(allowed).toBeLessThan((calls * 9) / 10);
});
