// What a verdict says and what a real Envoy answers, for random policy sets. A few here; five hundred in the policy suite.
// ISTHMUS_POLICY_SETS and ISTHMUS_POLICY_SEED repeat a run.
import { expect, it } from "vitest";
import { findEnvoy } from "../xds/testing/envoy.ts";
import { compareVerdicts } from "./testing/compare.ts";

const found = findEnvoy();
const envoy = "path" in found ? found.path : "";
const count = Number(process.env["ISTHMUS_POLICY_SETS"] ?? "20");
const seed = Number(process.env["ISTHMUS_POLICY_SEED"] ?? "1");

it.skipIf(envoy === "")("a verdict is what Envoy answers", { timeout: 300_000 }, async () => {
  const { sets, calls, allowed, differences } = await compareVerdicts(envoy, count, seed);
  console.info(`${sets} policy sets of seed ${seed}: ${calls} calls, ${allowed} of them allowed`);
  expect(differences, `seed ${seed}`).toEqual([]);
  // a comparison of refusals alone would prove little
  expect(allowed).toBeGreaterThan(calls / 10);
  expect(allowed).toBeLessThan((calls * 9) / 10);
});
