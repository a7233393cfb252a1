// A ClusterLoadAssignment whose endpoints mostly did not change: only the runs of endpoints that did are encoded and hashed
// again, the rest is copied from the previous bytes. One endpoint of a thousand then costs tens of microseconds instead of
// most of a millisecond. Called by shared/wire.ts; the bytes are those of encode.ts, by test.
import { hash } from "node:crypto";
import { newWriter, writeElement, writeMessage } from "./encode.ts";
import { below, isMessage, type At, type JsonMessage, type JsonValue } from "./json.ts";
import { messagePlan, type FieldPlan } from "./schema.ts";

export const assignmentType = "envoy.config.endpoint.v3.ClusterLoadAssignment";

/** Endpoints that are encoded and hashed together: smaller means more bookkeeping per run, larger more work per change. */
const RUN = 8;
const DIGEST_BYTES = 16;

interface Locality {
  /** Where the first run of endpoints begins in the bytes. */
  readonly start: number;
  /** Where each run ends, counted from there. */
  readonly ends: Uint32Array;
  /** One digest per run. */
  readonly digests: Buffer;
}

interface Made {
  /** Weak: who translates decides how long the JSON of a thousand endpoints is worth its memory. */
  readonly value: WeakRef<JsonMessage>;
  readonly localities: readonly Locality[];
}

const made = new WeakMap<Uint8Array, Made>();

export interface EncodedAssignment {
  readonly bytes: Uint8Array;
  /** Hash of the digests of the runs: a function of the content like any version, but not of the bytes as one string. */
  readonly version: string;
}

/** Whether this module can encode it; anything odd is left to encode.ts, whose errors say where. */
export function isPlainAssignment(value: JsonMessage): boolean {
  const list = value["endpoints"];
  return (
    Array.isArray(list) &&
    (list as readonly JsonValue[]).every((one) => isMessage(one) && endpointsOf(one) !== undefined)
  );
}

export function encodeAssignment(value: JsonMessage, previous: Uint8Array | undefined): EncodedAssignment {
  const plan = messagePlan(assignmentType);
  const field = fieldOf(assignmentType, "endpoints");
  const { cluster_name: name = "", endpoints, ...rest } = value;
  const before = previous === undefined ? undefined : earlier(previous);
  const head = newWriter();
  writeMessage(head, plan, { cluster_name: name });
  const tail = newWriter();
  writeMessage(tail, plan, rest);
  const out: Output = { pieces: [head.finish()], length: head.pos, hashed: [head.finish()] };
  const localities = (endpoints as readonly JsonMessage[]).map((locality, index) => {
    const at = below(below(undefined, "endpoints"), index);
    return writeLocality(out, { field, locality, at, before: before?.(index) });
  });
  push(out, tail.finish(), true);
  const bytes = joined(out);
  made.set(bytes, { value: new WeakRef(value), localities });
  return { bytes, version: hash("sha256", Buffer.concat(out.hashed), "hex").slice(0, 32) };
}

interface Output {
  readonly pieces: Uint8Array[];
  length: number;
  /** What the version is made of: everything except endpoints, and the digests of these. */
  readonly hashed: Uint8Array[];
}

/** In memory of its own, not in a slab that others share (wire.ts). */
function joined({ pieces, length }: Output): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

function push(out: Output, piece: Uint8Array, hashed: boolean): void {
  if (piece.length === 0) return;
  out.pieces.push(piece);
  out.length += piece.length;
  if (hashed) out.hashed.push(piece);
}

interface Before extends Locality {
  readonly bytes: Uint8Array;
  readonly endpoints: readonly JsonValue[];
}

/** The localities of the previous bytes, while the JSON they were made of is still there to compare with. */
function earlier(bytes: Uint8Array): ((index: number) => Before | undefined) | undefined {
  const known = made.get(bytes);
  const list = known?.value.deref()?.["endpoints"] as readonly JsonMessage[] | undefined;
  if (known === undefined || list === undefined) return undefined;
  return (index) => {
    const locality = known.localities[index];
    const endpoints = list[index] === undefined ? undefined : endpointsOf(list[index]);
    return locality === undefined || endpoints === undefined ? undefined : { ...locality, bytes, endpoints };
  };
}

interface Task {
  readonly field: FieldPlan;
  readonly locality: JsonMessage;
  readonly at: At;
  readonly before: Before | undefined;
}

function writeLocality(out: Output, { field, locality, at, before }: Task): Locality {
  const plan = field.message();
  const place = locality["locality"];
  const rest = without(locality, "locality", "lb_endpoints");
  const endpoints = endpointsOf(locality) ?? [];
  const head = newWriter();
  if (place !== undefined) writeMessage(head, plan, { locality: place }, at);
  const tail = newWriter();
  writeMessage(tail, plan, rest, at);
  const element = fieldOf(plan.name, "lb_endpoints");
  const runs = encodeRuns(element, endpoints, below(at, "lb_endpoints"), before);
  const length = head.pos + (runs.ends.at(-1) ?? 0) + tail.pos;
  push(
    out,
    newWriter()
      .uint32((field.id << 3) | 2)
      .uint32(length)
      .finish(),
    true,
  );
  push(out, head.finish(), true);
  const start = out.length;
  for (const piece of runs.pieces) push(out, piece, false);
  out.hashed.push(runs.digests);
  push(out, tail.finish(), true);
  return { start, ends: runs.ends, digests: runs.digests };
}

interface Runs {
  readonly pieces: Uint8Array[];
  readonly ends: Uint32Array;
  readonly digests: Buffer;
}

function encodeRuns(element: FieldPlan, endpoints: readonly JsonValue[], at: At, before: Before | undefined): Runs {
  const count = Math.ceil(endpoints.length / RUN);
  const runs: Runs = {
    pieces: [],
    ends: new Uint32Array(count),
    digests: Buffer.allocUnsafeSlow(count * DIGEST_BYTES),
  };
  let end = 0;
  for (let run = 0; run < count;) {
    const same = before === undefined ? 0 : sameRuns(before.endpoints, endpoints, run);
    if (before !== undefined && same > 0) copyRuns(runs, before, { run, same, end });
    else encodeRun(runs, element, { at, run, end, endpoints });
    run += Math.max(1, same);
    end = runs.ends[run - 1] ?? 0;
  }
  return runs;
}

/** Neighbouring runs are one piece: a copy of 80 kB is cheap, a thousand small ones are not. */
function copyRuns(
  to: Runs,
  from: Before,
  { run, same, end }: { readonly run: number; readonly same: number; readonly end: number },
): void {
  const begin = run === 0 ? 0 : (from.ends[run - 1] ?? 0);
  const finish = from.ends[run + same - 1] ?? begin;
  to.pieces.push(from.bytes.subarray(from.start + begin, from.start + finish));
  for (let index = run; index < run + same; index += 1) to.ends[index] = end + (from.ends[index] ?? 0) - begin;
  from.digests.copy(to.digests, run * DIGEST_BYTES, run * DIGEST_BYTES, (run + same) * DIGEST_BYTES);
}

interface Fresh {
  readonly at: At;
  readonly run: number;
  readonly end: number;
  readonly endpoints: readonly JsonValue[];
}

function encodeRun(to: Runs, element: FieldPlan, { at, run, end, endpoints }: Fresh): void {
  const writer = newWriter();
  const last = Math.min((run + 1) * RUN, endpoints.length);
  for (let index = run * RUN; index < last; index += 1) {
    writeElement(writer, element, endpoints[index] ?? null, below(at, index));
  }
  const piece = writer.finish();
  to.pieces.push(piece);
  to.ends[run] = end + piece.length;
  hash("sha256", piece, "buffer").copy(to.digests, run * DIGEST_BYTES, 0, DIGEST_BYTES);
}

/** How many runs from `run` on hold equal endpoints; the last run only if both lists end with it. */
function sameRuns(before: readonly JsonValue[], now: readonly JsonValue[], run: number): number {
  const first = run * RUN;
  let index = first;
  while (index < now.length && index < before.length && isEqual(before[index], now[index])) index += 1;
  const whole = Math.floor((index - first) / RUN);
  const bothEnd = index === now.length && index === before.length && index > first + whole * RUN;
  return bothEnd ? whole + 1 : whole;
}

function isEqual(a: JsonValue | undefined, b: JsonValue | undefined): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  const before = Object.entries(a) as readonly (readonly [string, JsonValue])[];
  const after = b as JsonMessage;
  if (before.length !== Object.keys(b).length || Array.isArray(a) !== Array.isArray(b)) return false;
  return before.every(([key, value]) => isEqual(value, after[key]));
}

function without(message: JsonMessage, ...fields: readonly string[]): JsonMessage {
  return Object.fromEntries(Object.entries(message).filter(([name]) => !fields.includes(name)));
}

function endpointsOf(locality: JsonMessage): readonly JsonValue[] | undefined {
  const list = locality["lb_endpoints"] ?? [];
  return Array.isArray(list) ? (list as readonly JsonValue[]) : undefined;
}

function fieldOf(message: string, name: string): FieldPlan {
  const field = messagePlan(message).fields.get(name);
  if (field === undefined) throw new Error(`${message} has no field ${name}`);
  return field;
}
