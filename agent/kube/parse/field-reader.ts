// Reads an object from outside field by field, never throws, and collects every mistake with its path. Used by the other
// files of this folder: one per kind. A missing or wrong field yields an empty value, so that reading goes on to the next
// mistake; the result is used only when there was none.
import { err, ok, type Problem, type Result } from "../../../shared/result.ts";
import { fieldOf, isObject } from "../json.ts";

export interface TextRule {
  /** Used when the field is absent; without it an absent field is a mistake. */
  readonly otherwise?: string;
  readonly maxLength?: number;
  readonly pattern?: RegExp;
  /** What the pattern wants, in words. */
  readonly wanted?: string;
}

export interface NumberRule {
  readonly otherwise?: number;
  readonly min: number;
  readonly max: number;
}

export interface FieldReader {
  readonly path: string;
  readonly raw: unknown;
  at(key: string): FieldReader;
  text(rule?: TextRule): string;
  integer(rule: NumberRule): number;
  flag(otherwise: boolean): boolean;
  /** Reports a value that is there and is no map: its missing fields would else read as "no restriction". */
  map(): FieldReader;
  /** Absent counts as empty unless `required`; a null among the items is a mistake. */
  list(rule: { readonly max: number; readonly required?: boolean }): readonly FieldReader[];
  /** An object's own fields whose values are texts. */
  texts(rule: { readonly max: number }): readonly (readonly [string, string])[];
  report(message: string, code?: string): void;
}

export const fieldCode = "ISTHMUS_OBJECT_FIELD";
export const limitCode = "ISTHMUS_OBJECT_LIMIT";

/** Enough to mend an object; a hostile one must not fill the memory or an Event with its mistakes. */
const MAX_PROBLEMS = 16;
const MAX_TEXT = 1024;

export function readObject<T>(object: unknown, read: (root: FieldReader) => T): Result<T> {
  const problems: Problem[] = [];
  const report = (field: string, code: string, message: string) => {
    if (problems.length < MAX_PROBLEMS) problems.push(field === "" ? { code, message } : { code, message, field });
  };
  const value = read(readerOf(object, "", report));
  return problems.length === 0 ? ok(value) : err(problems);
}

type Report = (field: string, code: string, message: string) => void;

function readerOf(raw: unknown, path: string, reportAt: Report): FieldReader {
  const report = (message: string, code: string = fieldCode) => reportAt(path, code, message);
  const self: FieldReader = {
    path,
    raw,
    report,
    map: () => {
      if (raw !== undefined && raw !== null && !isObject(raw)) report("must be a map");
      return self;
    },
    at: (key) => readerOf(fieldOf(raw, key), path === "" ? key : `${path}.${key}`, reportAt),
    text: (rule = {}) => readText(raw, rule, report),
    integer: (rule) => readInteger(raw, rule, report),
    flag: (otherwise) => {
      if (raw === undefined || raw === null) return otherwise;
      if (typeof raw !== "boolean") report("must be true or false");
      return raw === true;
    },
    list: (rule) => {
      if (raw === undefined || raw === null) {
        if (rule.required === true) report("is missing");
        return [];
      }
      if (!Array.isArray(raw)) {
        report("must be a list");
        return [];
      }
      if (raw.length > rule.max) {
        report(`has ${raw.length} items; at most ${rule.max} are taken`, limitCode);
        return [];
      }
      return raw.map((item: unknown, index) => {
        if (item === null) reportAt(`${path}[${index}]`, fieldCode, "is null");
        return readerOf(item, `${path}[${index}]`, reportAt);
      });
    },
    texts: (rule) => readTexts(raw, rule.max, report),
  };
  return self;
}

type ReportHere = (message: string, code?: string) => void;

function readText(raw: unknown, rule: TextRule, report: ReportHere): string {
  if (raw === undefined || raw === null) {
    if (rule.otherwise === undefined) report("is missing");
    return rule.otherwise ?? "";
  }
  if (typeof raw !== "string") {
    report("must be a text");
    return "";
  }
  const max = rule.maxLength ?? MAX_TEXT;
  if (Buffer.byteLength(raw) > max) {
    report(`is longer than ${max} bytes`, limitCode);
    return "";
  }
  if (rule.pattern?.test(raw) === false) report(`must be ${rule.wanted ?? `like ${rule.pattern.source}`}`);
  return raw;
}

function readInteger(raw: unknown, rule: NumberRule, report: ReportHere): number {
  if ((raw === undefined || raw === null) && rule.otherwise !== undefined) return rule.otherwise;
  if (typeof raw === "number" && Number.isInteger(raw) && raw >= rule.min && raw <= rule.max) return raw;
  report(raw === undefined || raw === null ? "is missing" : `must be a whole number from ${rule.min} to ${rule.max}`);
  return rule.min;
}

function readTexts(raw: unknown, max: number, report: ReportHere): readonly (readonly [string, string])[] {
  if (raw === undefined || raw === null) return [];
  if (!isObject(raw)) {
    report("must be a map");
    return [];
  }
  const entries = Object.entries(raw);
  if (entries.length > max) {
    report(`has ${entries.length} entries; at most ${max} are taken`, limitCode);
    return [];
  }
  const pairs: (readonly [string, string])[] = [];
  for (const [key, value] of entries) {
    if (typeof value === "string") pairs.push([key, value]);
    else report(`must map "${key}" to a text`);
  }
  return pairs;
}
