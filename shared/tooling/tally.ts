// Counts of tests across the programs of one run: each appends a line to the file named by ISTHMUS_TALLY, and
// the last one adds them up. A file, because `npm test` and the suites are separate processes.
import { appendFileSync, existsSync, readFileSync } from "node:fs";

export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export const nothing: Tally = { passed: 0, failed: 0, skipped: 0 };

export function add(a: Tally, b: Tally): Tally {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped };
}

/** Appends to the run's tally, where one is kept. */
export function record(tally: Tally, file: string | undefined): void {
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(tally)}\n`);
}

export function total(file: string): Tally {
  if (!existsSync(file)) return nothing;
  const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line) as Tally).reduce(add, nothing);
}

/** Counts of a vitest run from its JSON report; a run that wrote none failed before its first test. */
export function vitestTally(reportFile: string): Tally {
  if (!existsSync(reportFile)) return { passed: 0, failed: 1, skipped: 0 };
  const report = JSON.parse(readFileSync(reportFile, "utf8")) as Record<string, number | boolean | undefined>;
  const count = (field: string) => Number(report[field] ?? 0);
  const failedTests = count("numFailedTests");
  const failed = failedTests === 0 && report["success"] === false ? 1 : failedTests;
  return { passed: count("numPassedTests"), failed, skipped: count("numPendingTests") + count("numTodoTests") };
}
