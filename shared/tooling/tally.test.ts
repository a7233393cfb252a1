import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { record, total, vitestTally } from "./tally.ts";

const folder = mkdtempSync(join(tmpdir(), "isthmus-tally-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function reported(results: readonly { name: string; status: string; tests: readonly [string, string][] }[]): string {
  const all = results.flatMap(({ tests }) => tests.map(([, status]) => status));
  const count = (status: string) => all.filter((each) => each === status).length;
  const file = join(folder, `${Math.random()}.json`);
  const report = {
    success: results.every(({ status }) => status === "passed"),
    numPassedTests: count("passed"),
    numFailedTests: count("failed"),
    numPendingTests: count("skipped"),
    numTodoTests: 0,
    testResults: results.map(({ name, status, tests }) => ({
      name,
      status,
      assertionResults: tests.map(([fullName, each]) => ({ fullName, status: each })),
    })),
  };
  writeFileSync(file, JSON.stringify(report));
  return file;
}

describe("the tally of a run", () => {
  test("counts what passed, failed and was skipped, and names what failed", () => {
    const file = reported([
      {
        name: "a.test.ts",
        status: "failed",
        tests: [
          ["a call is answered", "passed"],
          ["a call is refused", "failed"],
        ],
      },
      { name: "b.test.ts", status: "passed", tests: [["a row of clusters", "skipped"]] },
    ]);
    expect(vitestTally(file)).toEqual({ passed: 1, failed: 1, skipped: 1, failures: ["a call is refused"] });
  });

  test("a file that could not be loaded is a failure, although no test of it ran", () => {
    const file = reported([{ name: "a.test.ts", status: "failed", tests: [] }]);
    expect(vitestTally(file)).toEqual({ passed: 0, failed: 1, skipped: 0, failures: ["a.test.ts as a whole"] });
  });

  test("a run without a report is a failure", () => {
    expect(vitestTally(join(folder, "none.json"))).toMatchObject({ passed: 0, failed: 1 });
  });

  test("adds up over programs by a file", () => {
    const file = join(folder, "tally");
    record({ passed: 2, failed: 0, skipped: 1 }, file);
    record({ passed: 1, failed: 1, skipped: 0, failures: ["a call"] }, file);
    expect(total(file)).toEqual({ passed: 3, failed: 1, skipped: 1, failures: ["a call"] });
  });
});
