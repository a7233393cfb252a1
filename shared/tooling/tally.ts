// Counts of tests across the programs of one run: each appends a line to the file named by ISTHMUS_TALLY, and
// the last one adds them up. A file, because `npm test` and the suites are separate processes.
import { appendFileSync, existsSync, readFileSync } from "node:fs";

export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Names of what failed, to be said once more at the end of a long run. A failure that no test counted has none. */
  readonly failures?: readonly string[];
}

export const nothing: Tally = { passed: 0, failed: 0, skipped: 0 };

export function add(a: Tally, b: Tally): Tally {
  const failures = [...(a.failures ?? []), ...(b.failures ?? [])];
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped, failures };
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

interface VitestReport {
  readonly success: boolean;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

/** Counts of a vitest run from its JSON report; a run that wrote none failed before its first test. */
export function vitestTally(reportFile: string): Tally {
  if (!existsSync(reportFile)) return { passed: 0, failed: 1, skipped: 0, failures: [`no report in ${reportFile}`] };
  const report = JSON.parse(readFileSync(reportFile, "utf8")) as VitestReport;
  const failures = report.testResults.flatMap((file) => {
    const tests = file.assertionResults.filter(({ status }) => status === "failed").map(({ fullName }) => fullName);
    return tests.length > 0 || file.status !== "failed" ? tests : [`${file.name} as a whole`];
  });
  const failed = report.numFailedTests === 0 && !report.success ? 1 : report.numFailedTests;
  return { passed: report.numPassedTests, failed, skipped: report.numPendingTests + report.numTodoTests, failures };
}
