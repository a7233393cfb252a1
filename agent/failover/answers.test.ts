import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { afterAnswers, isFailing, unheard, type AnswerRecord } from "./answers.ts";

const start = 1_000_000;
const after = (reports: readonly (readonly [succeeded: number, failed: number, atMs?: number])[]): AnswerRecord =>
  reports.reduce(
    (last, [succeeded, failed, atMs = 0]) => afterAnswers(last, { succeeded, failed }, start + atMs),
    unheard,
  );

describe("a workload whose health check is good", () => {
  it.each<[string, Parameters<typeof after>[0], boolean]>([
    ["that answers well is well", [[100, 0]], false],
    ["that answers half of its requests with errors fails", [[5, 5]], true],
    ["that answers less than half with errors is its application's business", [[6, 5]], false],
    ["is not judged by a few answers", [[0, 9]], false],
    [
      "is judged by all answers since the last judgement, however slowly they come",
      [
        [1, 4, 0],
        [0, 5, 60_000],
      ],
      true,
    ],
    [
      "is judged anew after a good judgement",
      [
        [10, 0],
        [0, 9],
      ],
      false,
    ],
  ])("%s", (_what, reports, fails) => {
    expect(isFailing(after(reports), start + 60_000 * (reports.length - 1))).toBe(fails);
  });

  it("is tried again after ten seconds, and when it fails again after twice as long", () => {
    const once = after([[0, 10]]);
    expect([9_999, 10_000].map((ms) => isFailing(once, start + ms))).toEqual([true, false]);
    const twice = afterAnswers(once, { succeeded: 0, failed: 10 }, start + 10_000);
    expect([29_999, 30_000].map((ms) => isFailing(twice, start + ms))).toEqual([true, false]);
  });

  it("that answers well on trial starts from the beginning", () => {
    expect(
      after([
        [0, 10],
        [10, 0, 10_000],
      ]),
    ).toEqual(unheard);
  });

  it("is not judged by what still comes while it is left", () => {
    const left = after([[0, 10]]);
    expect(afterAnswers(left, { succeeded: 500, failed: 0 }, start + 1)).toBe(left);
  });

  it("is never left for longer than five minutes", () => {
    const counts = fc.record({ succeeded: fc.nat(100), failed: fc.nat(100) });
    fc.assert(
      fc.property(fc.array(counts, { maxLength: 60 }), (reports) => {
        let [record, now] = [unheard, start];
        for (const report of reports) {
          record = afterAnswers(record, report, now);
          expect(record.failingUntilMs - now).toBeLessThanOrEqual(300_000);
          now = Math.max(now + 2_000, record.failingUntilMs);
        }
      }),
    );
  });
});
