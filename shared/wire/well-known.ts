// The google.protobuf messages that JSON spells in their own way: Duration "1.5s", Struct an object, wrappers bare values.
// Called by encode and decode.
import protobuf from "protobufjs";
import { below, isMessage, WireError, type At, type JsonMessage, type JsonValue } from "./json.ts";
import { readScalar, writeScalar } from "./scalars.ts";
import type { FieldPlan, MessagePlan } from "./schema.ts";

const tag = (id: number, wireType: number) => (id << 3) | wireType;

export function writeWellKnown(writer: protobuf.Writer, plan: MessagePlan, value: JsonValue, at: At | undefined): void {
  switch (plan.form) {
    case "duration":
      writeSeconds(writer, parseDuration(value, at));
      return;
    case "timestamp":
      writeSeconds(writer, parseTimestamp(value, at));
      return;
    case "wrapper":
      writeWrapper(writer, plan, value, at);
      return;
    case "struct":
      writeStruct(writer, value, at);
      return;
    case "list-value":
      writeListValue(writer, value, at);
      return;
    case "value":
      writeValue(writer, value, at);
      return;
    case "field-mask":
      writeFieldMask(writer, value, at);
      return;
    case "any":
    case "message":
      throw new WireError(at, `${plan.name} has no form of its own`);
  }
}

/** Duration and Timestamp have the same two fields. */
interface Instant {
  readonly seconds: bigint;
  readonly nanos: number;
}

const duration = /^(-?)(\d{1,12})(?:\.(\d{1,9}))?s$/;

function parseDuration(value: JsonValue, at: At | undefined): Instant {
  const match = typeof value === "string" ? duration.exec(value) : null;
  if (match === null) throw new WireError(at, 'must be a duration such as "0.5s"');
  const nanos = Number((match[3] ?? "").padEnd(9, "0"));
  return match[1] === "-"
    ? { seconds: -BigInt(match[2] ?? 0), nanos: nanos === 0 ? 0 : -nanos }
    : { seconds: BigInt(match[2] ?? 0), nanos };
}

function parseTimestamp(value: JsonValue, at: At | undefined): Instant {
  const ms = typeof value === "string" ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(ms) || typeof value !== "string") throw new WireError(at, "must be an RFC 3339 time");
  const fraction = /\.(\d{1,9})/.exec(value)?.[1] ?? "";
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: Number(fraction.padEnd(9, "0")) };
}

function writeSeconds(writer: protobuf.Writer, { seconds, nanos }: Instant): void {
  const bits = BigInt.asUintN(64, seconds);
  const long = { low: Number(bits & 0xffffffffn), high: Number(bits >> 32n), unsigned: false } as protobuf.Long;
  if (seconds !== 0n) writer.uint32(tag(1, 0)).int64(long);
  if (nanos !== 0) writer.uint32(tag(2, 0)).int32(nanos);
}

function wrapped(plan: MessagePlan): FieldPlan {
  const field = plan.byId.get(1);
  if (field === undefined) throw new Error(`${plan.name} has no field 1`);
  return field;
}

/** An empty wrapper already says "default": the value itself is written only where it differs (canonical bytes). */
function writeWrapper(writer: protobuf.Writer, plan: MessagePlan, value: JsonValue, at: At | undefined): void {
  const field = wrapped(plan);
  const start = writer.pos;
  writer.uint32(tag(1, field.wireType));
  writeScalar(writer, field, value, at);
  if (isZero(value)) writer.pos = start;
}

function isZero(value: JsonValue): boolean {
  return value === 0 || value === "0" || value === false || value === "";
}

function writeStruct(writer: protobuf.Writer, value: JsonValue, at: At | undefined): void {
  if (!isMessage(value)) throw new WireError(at, "must be an object");
  for (const key of Object.keys(value).sort()) {
    const item = value[key];
    if (item === undefined) continue;
    writer.uint32(tag(1, 2)).fork().uint32(tag(1, 2)).string(key).uint32(tag(2, 2)).fork();
    writeValue(writer, item, below(at, key));
    writer.ldelim().ldelim();
  }
}

function writeListValue(writer: protobuf.Writer, value: JsonValue, at: At | undefined): void {
  if (!Array.isArray(value)) throw new WireError(at, "must be a list");
  (value as readonly JsonValue[]).forEach((item, index) => {
    writer.uint32(tag(1, 2)).fork();
    writeValue(writer, item, below(at, index));
    writer.ldelim();
  });
}

function writeValue(writer: protobuf.Writer, value: JsonValue, at: At | undefined): void {
  if (value === null) writer.uint32(tag(1, 0)).int32(0);
  else if (typeof value === "number") writer.uint32(tag(2, 1)).double(value);
  else if (typeof value === "string") writer.uint32(tag(3, 2)).string(value);
  else if (typeof value === "boolean") writer.uint32(tag(4, 0)).bool(value);
  else {
    writer.uint32(tag(isMessage(value) ? 5 : 6, 2)).fork();
    if (isMessage(value)) writeStruct(writer, value, at);
    else writeListValue(writer, value, at);
    writer.ldelim();
  }
}

function writeFieldMask(writer: protobuf.Writer, value: JsonValue, at: At | undefined): void {
  if (typeof value !== "string") throw new WireError(at, "must be a comma-separated list of fields");
  for (const path of value.split(",").filter((part) => part !== "")) writer.uint32(tag(1, 2)).string(path);
}

/** Reads up to `end` in the message's JSON form. */
export function readWellKnown(reader: protobuf.Reader, plan: MessagePlan, end: number, at: At | undefined): JsonValue {
  switch (plan.form) {
    case "duration":
      return durationText(readSeconds(reader, end));
    case "timestamp":
      return timestampText(readSeconds(reader, end));
    case "wrapper":
      return readWrapper(reader, plan, end, at);
    case "struct":
      return readStruct(reader, end, at);
    case "list-value":
      return readListValue(reader, end, at);
    case "value":
      return readValue(reader, end, at);
    case "field-mask":
      return readFieldMask(reader, end);
    case "any":
    case "message":
      throw new WireError(at, `${plan.name} has no form of its own`);
  }
}

/** Calls `read` with each field number until `end`. */
function eachField(reader: protobuf.Reader, end: number, read: (id: number) => void): void {
  while (reader.pos < end) read(reader.uint32() >>> 3);
}

function readSeconds(reader: protobuf.Reader, end: number): Instant {
  let seconds = 0n;
  let nanos = 0;
  eachField(reader, end, (id) => {
    if (id !== 1) {
      nanos = reader.int32();
      return;
    }
    const { low, high } = reader.int64();
    seconds = BigInt.asIntN(64, (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0));
  });
  return { seconds, nanos };
}

function fractionText(nanos: number): string {
  const digits = String(Math.abs(nanos)).padStart(9, "0");
  return nanos === 0 ? "" : `.${digits.replace(/0+$/, "")}`;
}

function durationText({ seconds, nanos }: Instant): string {
  const sign = seconds < 0n || nanos < 0 ? "-" : "";
  return `${sign}${String(seconds < 0n ? -seconds : seconds)}${fractionText(nanos)}s`;
}

function timestampText({ seconds, nanos }: Instant): string {
  return new Date(Number(seconds) * 1000).toISOString().replace(/\.\d+Z$/, `${fractionText(nanos)}Z`);
}

function readWrapper(reader: protobuf.Reader, plan: MessagePlan, end: number, at: At | undefined): JsonValue {
  const field = wrapped(plan);
  let value: JsonValue = field.kind === "bool" ? false : field.kind === "string" || field.kind === "bytes" ? "" : 0;
  if (field.kind === "int64" || field.kind === "uint64") value = "0";
  eachField(reader, end, () => (value = readScalar(reader, field, at)));
  return value;
}

function readStruct(reader: protobuf.Reader, end: number, at: At | undefined): JsonMessage {
  const struct: Record<string, JsonValue> = {};
  eachField(reader, end, () => {
    let key = "";
    let value: JsonValue = null;
    eachField(reader, reader.uint32() + reader.pos, (id) => {
      if (id === 1) key = reader.string();
      else value = readValue(reader, reader.uint32() + reader.pos, at);
    });
    struct[key] = value;
  });
  return struct;
}

function readListValue(reader: protobuf.Reader, end: number, at: At | undefined): readonly JsonValue[] {
  const list: JsonValue[] = [];
  eachField(reader, end, () => list.push(readValue(reader, reader.uint32() + reader.pos, at)));
  return list;
}

function readValue(reader: protobuf.Reader, end: number, at: At | undefined): JsonValue {
  let value: JsonValue = null;
  eachField(reader, end, (id) => {
    if (id === 1) reader.int32();
    else if (id === 2) value = reader.double();
    else if (id === 3) value = reader.string();
    else if (id === 4) value = reader.bool();
    else if (id === 5) value = readStruct(reader, reader.uint32() + reader.pos, at);
    else if (id === 6) value = readListValue(reader, reader.uint32() + reader.pos, at);
    else throw new WireError(at, `a Value has no field ${id}`);
  });
  return value;
}

function readFieldMask(reader: protobuf.Reader, end: number): string {
  const paths: string[] = [];
  eachField(reader, end, () => paths.push(reader.string()));
  return paths.join(",");
}
