// The body of .ci/run: `npm test`, then the full suites in rotation (by commit count, so that every suite has its turn)
// while the budget lasts. Suites that did not run are named, and the last line is the plain sum.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { suites } from "../../test-clusters/suites.ts";
import { record, total } from "./tally.ts";

const BUDGET_MINUTES = 55;
const started = performance.now();
const elapsedMinutes = () => (performance.now() - started) / 60_000;

const folder = mkdtempSync(join(tmpdir(), "isthmus-ci-"));
const tallyFile = join(folder, "tally");
const env = { ...process.env, CI: "true", ISTHMUS_TALLY: tallyFile };

/** Runs one npm script to its end. A failure that no test counted (a crash, a missing tool) counts as one. */
function run(args: readonly string[]): void {
  process.stdout.write(`\n== npm ${args.join(" ")} (${elapsedMinutes().toFixed(1)} min)\n`);
  const before = total(tallyFile).failed;
  const done = spawnSync("npm", args, { stdio: ["ignore", "inherit", "inherit"], env });
  if (done.status !== 0 && total(tallyFile).failed === before)
    record({ passed: 0, failed: 1, skipped: 0, failures: [`npm ${args.join(" ")}`] }, tallyFile);
}

function rotated<T>(items: readonly T[]): readonly T[] {
  const commits = Number(execFileSync("git", ["rev-list", "--count", "HEAD"], { encoding: "utf8" }));
  const turn = items.length === 0 ? 0 : commits % items.length;
  return [...items.slice(turn), ...items.slice(0, turn)];
}

run(["test"]);
const left: string[] = [];
for (const suite of rotated(suites.filter((s) => s.name !== "core"))) {
  if (elapsedMinutes() + suite.budgetMinutes > BUDGET_MINUTES) left.push(suite.name);
  else run(["run", "e2e", "--", suite.name]);
}
if (left.length > 0)
  process.stdout.write(`\nnot run, the budget of ${BUDGET_MINUTES} min is used: ${left.join(", ")}\n`);

const sum = total(tallyFile);
rmSync(folder, { recursive: true, force: true });
for (const failure of sum.failures ?? []) process.stdout.write(`\nfailed: ${failure}\n`);
if (sum.skipped > 0) process.stdout.write(`\n${sum.skipped} skipped\n`);
process.stdout.write(`\n${sum.passed} passed, ${sum.failed} failed\n`);
process.exitCode = sum.failed === 0 && sum.passed > 0 ? 0 : 1;
