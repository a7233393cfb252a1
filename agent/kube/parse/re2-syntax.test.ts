// Every verdict here was checked against Envoy 1.40 (`--mode validate` with safe_regex): what is accepted, it accepts.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkRe2, maxProgramSize } from "./re2-syntax.ts";

describe("a pattern that Envoy's RE2 takes", () => {
  it.each([
    "",
    "/api/v[0-9]+/.*",
    "^/a(b|c)?$",
    "[]a]",
    "[^]a-]",
    "[[:alpha:]_]+",
    "[[:^digit:]]",
    "[\\d\\-.]",
    "a{,5}",
    "a{2",
    "x{1000}",
    "(?i)cart|(?-s:.)+",
    "(?P<name>a)(?<other>b)",
    "\\pL\\p{Greek}\\p{^Lu}\\PN",
    "\\Qa*b\\E",
    "\\x41\\x{e9}\\07\\0",
    "(|a)||",
    "^*",
    "a.b*?c+?d??e{2,3}?",
    "\\/\\-\\_\\ \\@",
    "caf\u00e9",
  ])("is accepted: %s", (pattern) => {
    expect(checkRe2(pattern)).toBeUndefined();
  });
});

describe("a pattern that Envoy's RE2 refuses, or that would mean something else", () => {
  it.each([
    ["(?=a)", "look-around"],
    ["a(?!b)", "look-around"],
    ["(?<=a)b", "look-around"],
    ["(?<!a)b", "look-around"],
    ["(?>a)", "unknown group"],
    ["(?#note)", "unknown group"],
    ["(?P=name)", "unknown group"],
    ["(?x)a", "unknown group"],
    ["(a)\\1", "back-reference"],
    ["\\C", "any byte"],
    ["\\Z", "unknown escape"],
    ["\\e", "unknown escape"],
    ["a\\", "backslash at the end"],
    ["(a", "unbalanced ("],
    ["a)", "unbalanced )"],
    ["[a", "unbalanced ["],
    ["[z-a]", "range"],
    ["[a-\\d]", "escape"],
    ["[[:word]", "class"],
    ["[[:nope:]]", "class"],
    ["\\p{Klingon}", "Unicode class"],
    ["*a", "nothing to repeat"],
    ["a|+", "nothing to repeat"],
    ["(?i)*", "nothing to repeat"],
    ["{2}", "nothing to repeat"],
    ["a**", "repetition of a repetition"],
    ["a*+", "repetition of a repetition"],
    ["a{2}{3}", "repetition of a repetition"],
    ["a{1001}", "more than 1000"],
    ["a{3,2}", "below its start"],
    ["(a{100}){11}", "nested"],
    [".{1000}{1000}", "repetition of a repetition"],
    ["(.{100}){10}(\\w{900})", "instructions"],
    ["\\x{263a}", "above FF"],
    ["[\u00e9]", "outside ASCII"],
    ["\u00e9*", "outside ASCII"],
    ["\\Qab\\E*", "quoted"],
    ["\ud800", "Unicode"],
    ["a".repeat(1025), "longer than 1024"],
    ["(".repeat(200) + ")".repeat(200), "nested too deeply"],
  ])("is refused: %s", (pattern, reason) => {
    expect(checkRe2(pattern)).toContain(reason);
  });
});

describe("the check itself", () => {
  it("is never slow and never throws, whatever the pattern", () => {
    const pieces = [
      "(",
      ")",
      "[",
      "]",
      "{",
      "}",
      "*",
      "+",
      "?",
      "|",
      "\\",
      "^",
      "$",
      ".",
      "-",
      ":",
      "a",
      "9",
      "P",
      "<",
      ">",
      ",",
      "\u00e9",
      "(?",
      "{1000}",
      "[[:",
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 400 }), (parts) => {
        const before = process.threadCpuUsage(); // not the clock: a busy machine may stop this process for a while
        const verdict = checkRe2(parts.join(""));
        expect(verdict === undefined || verdict !== "").toBe(true);
        const { user, system } = process.threadCpuUsage(before);
        expect((user + system) / 1000).toBeLessThan(250);
      }),
      { numRuns: 500 },
    );
  });

  it("bounds what the pattern compiles to", () => {
    expect(checkRe2("a{600}".repeat(2))).toBeUndefined();
    expect(checkRe2("(?:[a-z]{30}){30}")).toBe(`it compiles to more than ${maxProgramSize} instructions`);
  });
});
