// Escapes and bracket classes of RE2, the parts of re2-syntax.ts that name sets of characters. Each returns an upper
// estimate of the instructions that the set compiles to.
import { fail, type Scan } from "./re2-scan.ts";

/** Unicode general categories and the scripts in common use: the rest is refused, not guessed. */
const unicodeClasses: ReadonlySet<string> = new Set(
  (
    "Any C Cc Cf Co Cs L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs " +
    "Arabic Armenian Bengali Common Cyrillic Devanagari Ethiopic Georgian Greek Han Hangul Hebrew Hiragana Katakana Latin Thai Tibetan"
  ).split(" "),
);
const asciiClasses: ReadonlySet<string> = new Set(
  "alnum alpha ascii blank cntrl digit graph lower print punct space upper word xdigit".split(" "),
);
/** Upper bounds on what one set compiles to. */
const CLASS_SIZE = 16;
const UNICODE_CLASS_SIZE = 24;
const MAX_CODE = 0xff;
const hex = /^x(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{2}))/;
/** A lone digit from 1 to 9 would be a back-reference. */
const octal = /^(?:0[0-7]{0,2}|[1-7][0-7]{1,2})/;
const unicode = /^[pP](?:([A-Z])|\{\^?([A-Za-z_]{1,32})\})/;

/** Outside brackets, at a backslash. */
export function readEscape(at: Scan): number {
  const start = at.position;
  const next = at.text[start + 1] ?? fail("a backslash at the end", start);
  if (next === "Q") return readQuoted(at);
  if (next === "C") fail("\\C (any byte) is not taken: it can split a character", start);
  if ("bBAz".includes(next)) {
    at.position += 2;
    return 1;
  }
  return readSet(at) ?? (readCharacter(at), 8);
}

/** `\Q...\E`: literal text; a missing `\E` means to the end. */
function readQuoted(at: Scan): number {
  const end = at.text.indexOf("\\E", at.position + 2);
  const text = at.text.slice(at.position + 2, end === -1 ? undefined : end);
  // RE2 would repeat only the last character: refuse what reads otherwise
  at.position = end === -1 ? at.text.length : end + 2;
  if (/^[*+?{]/.test(at.text.slice(at.position))) fail("a repetition of quoted text", at.position);
  return 2 * Buffer.byteLength(text);
}

/** `\d`, `\pL`, `\p{Greek}`: undefined when the escape is no set. */
function readSet(at: Scan): number | undefined {
  const rest = at.text.slice(at.position + 1, at.position + 48);
  if (/^[dDsSwW]/.test(rest)) {
    at.position += 2;
    return CLASS_SIZE;
  }
  if (!/^[pP]/.test(rest)) return undefined;
  const match = unicode.exec(rest);
  const name = match?.[1] ?? match?.[2] ?? "";
  if (match === null || !unicodeClasses.has(name)) fail("an unknown Unicode class", at.position);
  at.position += 1 + match[0].length;
  return UNICODE_CLASS_SIZE;
}

/** One escaped character; returns its code point. */
function readCharacter(at: Scan): number {
  const start = at.position;
  const rest = at.text.slice(start + 1, start + 12);
  const number = hex.exec(rest);
  if (number !== null) {
    const code = Number.parseInt(number[1] ?? number[2] ?? "", 16);
    if (code > MAX_CODE) fail("a code point above FF (Envoy's RE2 reads bytes, not characters)", start);
    at.position += 1 + number[0].length;
    return code;
  }
  const digits = octal.exec(rest);
  if (digits !== null) {
    at.position += 1 + digits[0].length;
    return Number.parseInt(digits[0], 8);
  }
  const char = rest[0] ?? fail("a backslash at the end", start);
  const known = "aftnrv".includes(char) || /^[ -/:-@[-`{-~]$/.test(char);
  if (/[1-9]/.test(char)) fail("a back-reference is not in RE2", start);
  if (!known) fail(`unknown escape \\${char}`, start);
  at.position += 2;
  return controls.get(char) ?? char.charCodeAt(0);
}

const controls: ReadonlyMap<string, number> = new Map([
  ["a", 7],
  ["f", 12],
  ["t", 9],
  ["n", 10],
  ["r", 13],
  ["v", 11],
]);

/** `[...]`, at the opening bracket. A `]` that comes first is a literal. */
export function readClass(at: Scan): number {
  const start = at.position;
  at.position += at.text[start + 1] === "^" ? 2 : 1;
  let size = 2;
  for (let first = true; first || at.text[at.position] !== "]"; first = false) {
    if (at.position >= at.text.length) fail("unbalanced [", start);
    size += readClassItem(at);
  }
  at.position += 1;
  return size;
}

function readClassItem(at: Scan): number {
  const start = at.position;
  if (at.text.startsWith("[:", start)) return readAsciiClass(at);
  if (at.text[start] === "\\") {
    const set = readSet(at);
    if (set !== undefined) return set;
  }
  const low = readClassCharacter(at);
  if (at.text[at.position] !== "-" || at.text[at.position + 1] === "]" || at.position + 1 >= at.text.length) return 8;
  at.position += 1;
  const high = readClassCharacter(at);
  if (high < low) fail("a range whose end is below its start", start);
  // under (?i) one range becomes a few
  return CLASS_SIZE;
}

function readClassCharacter(at: Scan): number {
  if (at.text[at.position] === "\\") return readCharacter(at);
  const code = at.text.codePointAt(at.position) ?? fail("unbalanced [", at.position);
  if (code > 0x7f) fail("a character outside ASCII in a class (Envoy's RE2 reads bytes)", at.position);
  at.position += 1;
  return code;
}

function readAsciiClass(at: Scan): number {
  const end = at.text.indexOf(":]", at.position + 2);
  const name = at.text.slice(at.position + 2, end === -1 ? at.position + 2 : end).replace(/^\^/, "");
  if (!asciiClasses.has(name)) fail("an unknown class [:name:]", at.position);
  at.position = end + 2;
  return CLASS_SIZE;
}
