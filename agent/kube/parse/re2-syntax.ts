// Is this text a pattern that RE2 will take? Called for every pattern of an HTTPRouteGroup before it goes anywhere.
// JavaScript's RegExp speaks another language and backtracks: no pattern from outside is ever compiled or run here.
// Conservative: what it accepts, Envoy 1.40 accepts (a test asks a real Envoy); a few exotic patterns RE2 knows are refused.
// Syntax: github.com/google/re2/wiki/Syntax. Positions in messages count from 0.
import { readClass, readEscape } from "./re2-class.ts";
import { fail, PatternError, type Scan } from "./re2-scan.ts";

const MAX_BYTES = 1024;
/** RE2's own bound, for one repetition and for the product of nested ones. */
const MAX_REPEAT = 1000;
const MAX_DEPTH = 100;
/**
 * Instructions of the compiled program, estimated from above. Envoy refuses programs above its runtime key
 * `re2.max_program_size.error_level`, whose default of 100 refuses ordinary patterns: our bootstraps set it to twice this.
 */
export const maxProgramSize = 5000;

/** What is wrong with the pattern, or undefined. */
export function checkRe2(pattern: string): string | undefined {
  if (!pattern.isWellFormed()) return "it is not valid Unicode";
  if (Buffer.byteLength(pattern) > MAX_BYTES) return `it is longer than ${MAX_BYTES} bytes`;
  const at: Scan = { text: pattern, position: 0, depth: 0 };
  try {
    const whole = readAlternatives(at);
    if (at.position < pattern.length) return `unbalanced ) at ${at.position}`;
    if (whole.size > maxProgramSize) return `it compiles to more than ${maxProgramSize} instructions`;
    return undefined;
  } catch (error) {
    if (error instanceof PatternError) return error.message;
    throw error;
  }
}

interface Node {
  /** Instructions, estimated from above. */
  readonly size: number;
  /** Largest product of nested repetitions. */
  readonly repeat: number;
}

function readAlternatives(at: Scan): Node {
  let size = 1;
  let repeat = 1;
  for (;;) {
    const branch = readSequence(at);
    size += branch.size + 1;
    repeat = Math.max(repeat, branch.repeat);
    if (at.text[at.position] !== "|") return { size, repeat };
    at.position += 1;
  }
}

function readSequence(at: Scan): Node {
  let size = 0;
  let repeat = 1;
  while (at.position < at.text.length && at.text[at.position] !== "|" && at.text[at.position] !== ")") {
    const item = readRepeated(at);
    size += item.size;
    repeat = Math.max(repeat, item.repeat);
  }
  return { size, repeat };
}

function readRepeated(at: Scan): Node {
  const start = at.position;
  const item = readItem(at);
  const times = readQuantifier(at);
  if (times === undefined) return item;
  if ((at.text.codePointAt(start) ?? 0) > 0x7f)
    fail("a repetition of a character outside ASCII (Envoy's RE2 reads bytes)", start);
  if (!item.repeatable) fail("nothing to repeat", start);
  const again = at.position;
  if (readQuantifier(at) !== undefined) fail("a repetition of a repetition", again);
  const repeat = item.repeat * Math.max(times.product, 1);
  if (repeat > MAX_REPEAT) fail(`nested repetitions of more than ${MAX_REPEAT}`, start);
  return { size: item.size * times.copies + times.extra, repeat };
}

interface Times {
  /** Copies of the repeated program. */
  readonly copies: number;
  readonly extra: number;
  /** What counts against RE2's bound on nested repetitions: `*`, `+` and `?` are loops, not copies. */
  readonly product: number;
}

const braces = /^\{(\d{1,9})(,(\d{0,9}))?\}/;

/** A quantifier with its lazy mark, or undefined. A `{` that opens no repetition is a literal, for RE2 too. */
function readQuantifier(at: Scan): Times | undefined {
  const char = at.text[at.position];
  let times: Times | undefined;
  if (char === "*" || char === "+" || char === "?") {
    at.position += 1;
    times = { copies: 1, extra: 2, product: 1 };
  } else if (char === "{") {
    times = readBraces(at);
  }
  if (times !== undefined && at.text[at.position] === "?") at.position += 1;
  return times;
}

function readBraces(at: Scan): Times | undefined {
  const match = braces.exec(at.text.slice(at.position, at.position + 24));
  if (match === null) return undefined;
  const min = Number(match[1]);
  const open = match[2] !== undefined && match[3] === "";
  const max = match[2] === undefined || open ? min : Number(match[3]);
  if (min > MAX_REPEAT || max > MAX_REPEAT) fail(`a repetition of more than ${MAX_REPEAT}`, at.position);
  if (max < min) fail("a repetition whose end is below its start", at.position);
  at.position += match[0].length;
  return { copies: Math.max(max, 1), extra: max - min + 2, product: max };
}

type Item = Node & { readonly repeatable: boolean };

function readItem(at: Scan): Item {
  const start = at.position;
  const char = at.text[start] ?? "";
  if (char === "(") return readGroup(at);
  if (char === "[") return { size: readClass(at), repeat: 1, repeatable: true };
  if (char === "\\") return { size: readEscape(at), repeat: 1, repeatable: true };
  if (char === "*" || char === "+" || char === "?") fail("nothing to repeat", start);
  if (char === "{" && readBraces({ ...at }) !== undefined) fail("nothing to repeat", start);
  const width = String.fromCodePoint(at.text.codePointAt(start) ?? 0).length;
  at.position += width;
  // two ranges for `.`; for a character its bytes, twice under (?i)
  return {
    size: char === "." ? 3 : 2 * Buffer.byteLength(at.text.slice(start, at.position)),
    repeat: 1,
    repeatable: true,
  };
}

const groupName = /^\?P?<([A-Za-z0-9_]{1,64})>/;
const groupFlags = /^\?[imsU]*(?:-[imsU]+)?([:)])/;

function readGroup(at: Scan): Item {
  const start = at.position;
  at.position += 1;
  const head = at.text.slice(at.position, at.position + 80);
  if (head.startsWith("?")) {
    const flags = groupFlags.exec(head);
    const opening = groupName.exec(head) ?? flags;
    if (opening === null) fail(lookArounds.test(head) ? "look-around is not in RE2" : "unknown group", start);
    at.position += opening[0].length;
    if (flags?.[1] === ")") {
      if (flags[0] === "?)") fail("flags without a letter", start);
      return { size: 0, repeat: 1, repeatable: false };
    }
  }
  at.depth += 1;
  if (at.depth > MAX_DEPTH) fail("groups nested too deeply", start);
  const inside = readAlternatives(at);
  at.depth -= 1;
  if (at.text[at.position] !== ")") fail("unbalanced (", start);
  at.position += 1;
  return { size: inside.size + 2, repeat: inside.repeat, repeatable: true };
}

const lookArounds = /^\?<?[=!]/;
