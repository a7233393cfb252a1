import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { labelExcept } from "./label-regex.ts";

// the text is RE2's; what it uses of it (groups, classes, stars) means the same in JavaScript, where it can be asked quickly
const fits = (words: readonly string[], label: string) => new RegExp(`^(?:${labelExcept(words)})$`).test(label);

describe("a label that is none of these", () => {
  it("leaves out exactly those, whatever else begins or ends like them", () => {
    const words = ["east", "eastern", "e", "a-1"];
    for (const word of words) expect(fits(words, word), word).toBe(false);
    for (const label of ["eas", "easter", "easterns", "west", "ea", "a-", "a", "a-12", "1", "-"])
      expect(fits(words, label), label).toBe(true);
    for (const text of ["", "West", "we.st", "we st"]) expect(fits(words, text), text).toBe(false);
  });

  it("is any label when nothing is left out", () => {
    expect([fits([], "east"), fits([], "")]).toEqual([true, false]);
  });

  it("answers like a set, for any words", () => {
    const label = fc.stringMatching(/^[ab1-]{1,5}$/);
    fc.assert(
      fc.property(fc.array(label, { maxLength: 6 }), label, (words, asked) => {
        expect(fits(words, asked)).toBe(!words.includes(asked));
      }),
    );
  });
});
