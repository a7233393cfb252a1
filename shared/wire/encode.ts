// JSON to canonical protobuf bytes: fields by number, map entries by key, defaults left out, scalars packed. Equal content
// has equal bytes on every replica, so a version may be their hash. Called by shared/wire.ts and assignment.ts.
// It must never drop what it does not know: Envoy would run without a setting that somebody wrote.
import protobuf from "protobufjs";
import { below, isMessage, messageNameOf, WireError, type At, type JsonMessage, type JsonValue } from "./json.ts";
import { messagePlan, wireTypeOf, type FieldPlan, type MessagePlan } from "./schema.ts";
import { writeScalar, isDefaultScalar } from "./scalars.ts";
import { writeWellKnown } from "./well-known.ts";

export type Writer = protobuf.Writer;

export function newWriter(): Writer {
  return protobuf.Writer.create();
}

/** Writes the fields of `value` as the message `plan`, without a tag or a length. */
export function writeMessage(writer: Writer, plan: MessagePlan, value: JsonValue, at?: At): void {
  if (plan.form === "any") writeAny(writer, value, at);
  else if (plan.form !== "message") writeWellKnown(writer, plan, value, at);
  else if (isMessage(value)) writeFields(writer, plan, value, at);
  else throw new WireError(at, `${plan.name} must be an object`);
}

function writeFields(writer: Writer, plan: MessagePlan, value: JsonMessage, at: At | undefined): void {
  const present = presentFields(plan, value, at);
  for (const field of present) writeField(writer, field, value[field.name] as JsonValue, below(at, field.name));
}

/** The fields that are set, by number. `null` means absent in proto3 JSON, except where the field is a Value. */
function presentFields(plan: MessagePlan, value: JsonMessage, at: At | undefined): readonly FieldPlan[] {
  const present: FieldPlan[] = [];
  let lastId = 0;
  let sorted = true;
  let oneofs = 0;
  for (const key of Object.keys(value)) {
    const field = plan.fields.get(key);
    const item = value[key];
    if (field === undefined) {
      if (key === "@type") continue;
      throw new WireError(below(at, key), `${plan.name} has no such field`);
    }
    if (item === undefined || (item === null && !isValueField(field))) continue;
    if (field.id < lastId) sorted = false;
    if (field.oneof !== undefined) oneofs += 1;
    lastId = field.id;
    present.push(field);
  }
  if (!sorted) present.sort((a, b) => a.id - b.id);
  if (oneofs > 1) checkOneofs(present, at);
  return present;
}

function isValueField(field: FieldPlan): boolean {
  return field.shape === "single" && field.kind === "message" && field.message().form === "value";
}

function checkOneofs(present: readonly FieldPlan[], at: At | undefined): void {
  const seen = new Map<string, string>();
  for (const { name, oneof } of present) {
    if (oneof === undefined) continue;
    const other = seen.get(oneof);
    if (other !== undefined) {
      throw new WireError(below(at, name), `set together with ${other}: only one of ${oneof} may be`);
    }
    seen.set(oneof, name);
  }
}

function writeField(writer: Writer, field: FieldPlan, value: JsonValue, at: At): void {
  if (field.shape === "single") writeSingle(writer, field, value, at);
  else if (field.shape === "map") writeMap(writer, field, value, at);
  else if (!Array.isArray(value)) throw new WireError(at, "must be a list");
  else writeList(writer, field, value as readonly JsonValue[], at);
}

function writeSingle(writer: Writer, field: FieldPlan, value: JsonValue, at: At): void {
  if (!field.presence && field.kind !== "message" && isDefaultScalar(field, value)) return;
  writeElement(writer, field, value, at);
}

function writeList(writer: Writer, field: FieldPlan, values: readonly JsonValue[], at: At): void {
  if (values.length === 0) return;
  if (field.shape === "packed") writer.uint32((field.id << 3) | 2).fork();
  values.forEach((value, index) => {
    if (field.shape === "packed") writeScalar(writer, field, value, below(at, index));
    else writeElement(writer, field, value, below(at, index));
  });
  if (field.shape === "packed") writer.ldelim();
}

/** One tag and its value. */
export function writeElement(writer: Writer, field: FieldPlan, value: JsonValue, at: At): void {
  writer.uint32(((field.id << 3) | field.wireType) >>> 0);
  if (field.kind !== "message") {
    writeScalar(writer, field, value, at);
    return;
  }
  writer.fork();
  writeMessage(writer, field.message(), value, at);
  writer.ldelim();
}

function writeMap(writer: Writer, field: FieldPlan, value: JsonValue, at: At): void {
  if (!isMessage(value)) throw new WireError(at, "must be an object");
  const key: FieldPlan = { ...field, id: 1, kind: field.keyKind, shape: "single", presence: true, oneof: undefined };
  for (const name of Object.keys(value).sort()) {
    const item = value[name];
    if (item === undefined || item === null) throw new WireError(below(at, name), "a map has no null values");
    writer.uint32(((field.id << 3) | 2) >>> 0).fork();
    writer.uint32((1 << 3) | wireTypeOf(field.keyKind));
    writeScalar(writer, key, mapKey(field.keyKind, name), below(at, name));
    writeElement(writer, { ...field, id: 2 }, item, below(at, name));
    writer.ldelim();
  }
}

function mapKey(kind: string, name: string): JsonValue {
  return kind === "bool" ? name === "true" : name;
}

/** Any: the message it holds is encoded by the same rules; a well-known one stands in `value` (ProtoJSON format, Any). */
function writeAny(writer: Writer, value: JsonValue, at: At | undefined): void {
  if (!isMessage(value)) throw new WireError(at, 'an Any must be an object with "@type"');
  const typeUrl = value["@type"];
  if (typeof typeUrl !== "string") throw new WireError(at, 'an Any must have "@type"');
  const plan = planOf(messageNameOf(typeUrl), at);
  writer.uint32((1 << 3) | 2).string(typeUrl);
  const content = contentWriter(plan, value, at);
  if (content.length > 0) writer.uint32((2 << 3) | 2).bytes(content);
}

function contentWriter(plan: MessagePlan, value: JsonMessage, at: At | undefined): Uint8Array {
  const writer = newWriter();
  if (plan.form === "message") {
    writeFields(writer, plan, value, at);
    return writer.finish();
  }
  const content = value["value"];
  if (content === undefined || Object.keys(value).length !== 2) {
    throw new WireError(at, `a ${plan.name} in an Any has its JSON form in "value" and nothing else`);
  }
  writeMessage(writer, plan, content, below(at, "value"));
  return writer.finish();
}

function planOf(name: string, at: At | undefined): MessagePlan {
  try {
    return messagePlan(name);
  } catch (cause) {
    throw new WireError(at, cause instanceof Error ? cause.message : `unknown type ${name}`);
  }
}
