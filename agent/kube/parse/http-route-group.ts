// specs.smi-spec.io HTTPRouteGroup of any version -> HttpRouteGroupInput. Patterns are checked for RE2 syntax and never run.
import type { Result } from "../../../shared/result.ts";
import type { HttpMatchInput, HttpRouteGroupInput } from "../../ir/inputs.ts";
import { limitCode, type FieldReader } from "./field-reader.ts";
import { isBeingDeleted } from "./metadata.ts";
import { checkRe2 } from "./re2-syntax.ts";
import { readPolicyNames, readSmiObject } from "./smi-object.ts";

const MAX_MATCHES = 512;
const MAX_HEADERS = 32;
const MAX_PATTERN_BYTES = 1024;
/** All patterns of one group: they end up in every client's and server's routes. */
const MAX_GROUP_PATTERN_BYTES = 64 * 1024;
const methods = ["*", "GET", "HEAD", "PUT", "POST", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
const headerName = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}$/;
export const regexCode = "ISTHMUS_REGEX";

export function parseHttpRouteGroup(object: unknown): Result<HttpRouteGroupInput | undefined> {
  return readSmiObject(object, (root) => {
    if (isBeingDeleted(root)) return undefined;
    const matches = root.at("spec").at("matches").list({ max: MAX_MATCHES, required: true });
    const group = { ...readPolicyNames(root), matches: matches.map(readMatch) };
    reportRepeatedNames(matches, group.matches);
    const bytes = group.matches.reduce((sum, match) => sum + patternBytes(match), 0);
    if (bytes > MAX_GROUP_PATTERN_BYTES) {
      const message = `patterns take ${bytes} bytes together; at most ${MAX_GROUP_PATTERN_BYTES} are taken`;
      root.at("spec").at("matches").report(message, limitCode);
    }
    return group;
  });
}

function readMatch(field: FieldReader): HttpMatchInput {
  return {
    name: field.at("name").text({ maxLength: 253 }),
    pathRegex: readPattern(field.at("pathRegex")),
    methods: field.at("methods").list({ max: 64 }).map(readMethod),
    headers: readHeaders(field.at("headers")),
  };
}

function readMethod(field: FieldReader): string {
  const method = field.text({ maxLength: 16 });
  if (!methods.includes(method) && method !== "") field.report(`must be one of ${methods.join(" ")}`);
  return method;
}

/** The CRD says a list of maps, the Go type and every example of the specification say one map: both are in use. */
function readHeaders(field: FieldReader): HttpMatchInput["headers"] {
  const maps = Array.isArray(field.raw) ? field.list({ max: MAX_HEADERS }) : [field];
  return maps
    .flatMap((map) => map.texts({ max: MAX_HEADERS }).map(([name]) => readHeader(map, name)))
    .sort((a, b) => (a.name === b.name ? order(a.valueRegex, b.valueRegex) : order(a.name, b.name)));
}

function readHeader(map: FieldReader, name: string): HttpMatchInput["headers"][number] {
  const field = map.at(name);
  if (!headerName.test(name)) map.report(`"${name.slice(0, 64)}" is not a header name`);
  return { name: name.toLowerCase(), valueRegex: readPattern(field) };
}

function readPattern(field: FieldReader): string {
  const pattern = field.text({ otherwise: "", maxLength: MAX_PATTERN_BYTES });
  const mistake = checkRe2(pattern);
  if (mistake !== undefined) field.report(`is not an RE2 pattern: ${mistake}`, regexCode);
  return pattern;
}

/** Rules pick matches by name: two of one name would make a grant mean either. */
function reportRepeatedNames(fields: readonly FieldReader[], matches: readonly HttpMatchInput[]): void {
  const seen = new Set<string>();
  matches.forEach((match, index) => {
    if (match.name !== "" && seen.has(match.name)) fields[index]?.at("name").report(`"${match.name}" is used twice`);
    seen.add(match.name);
  });
}

function patternBytes(match: HttpMatchInput): number {
  return [match.pathRegex, ...match.headers.map((header) => header.valueRegex)].reduce(
    (sum, pattern) => sum + Buffer.byteLength(pattern),
    0,
  );
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
