// Protobuf bytes to proto3 JSON with the proto's own field names: for /debug, golden files and tests. Called by shared/wire.ts.
// An unknown field is an error here too: bytes of ours that we cannot read back are a bug.
import protobuf from "protobufjs";
import { below, messageNameOf, WireError, type At, type JsonMessage, type JsonValue } from "./json.ts";
import { readScalar } from "./scalars.ts";
import { messagePlan, type FieldPlan, type MessagePlan } from "./schema.ts";
import { readWellKnown } from "./well-known.ts";

export function readMessage(bytes: Uint8Array, plan: MessagePlan, at?: At): JsonValue {
  const reader = protobuf.Reader.create(bytes);
  return readUntil(reader, plan, reader.len, at);
}

function readUntil(reader: protobuf.Reader, plan: MessagePlan, end: number, at: At | undefined): JsonValue {
  if (plan.form === "any") return readAny(reader, end, at);
  if (plan.form !== "message") return readWellKnown(reader, plan, end, at);
  return readFields(reader, plan, end, at);
}

function readFields(reader: protobuf.Reader, plan: MessagePlan, end: number, at: At | undefined): JsonMessage {
  const message: Record<string, JsonValue> = {};
  while (reader.pos < end) {
    const tag = reader.uint32();
    const field = plan.byId.get(tag >>> 3);
    if (field === undefined) throw new WireError(at, `${plan.name} has no field ${tag >>> 3}`);
    readField(reader, field, { message, wireType: tag & 7, at: below(at, field.name) });
  }
  return message;
}

interface Into {
  readonly message: Record<string, JsonValue>;
  readonly wireType: number;
  readonly at: At;
}

function readField(reader: protobuf.Reader, field: FieldPlan, { message, wireType, at }: Into): void {
  if (field.shape === "map") {
    const entries = (message[field.name] ??= {}) as Record<string, JsonValue>;
    readMapEntry(reader, field, entries, at);
  } else if (field.shape === "single") {
    message[field.name] = readElement(reader, field, at);
  } else {
    const list = (message[field.name] ??= []) as JsonValue[];
    const packed = wireType === 2 && field.wireType !== 2;
    const end = packed ? reader.uint32() + reader.pos : reader.pos + 1;
    while (reader.pos < end) list.push(readElement(reader, field, below(at, list.length)));
  }
}

function readElement(reader: protobuf.Reader, field: FieldPlan, at: At): JsonValue {
  if (field.kind !== "message") return readScalar(reader, field, at);
  return readUntil(reader, field.message(), reader.uint32() + reader.pos, at);
}

function readMapEntry(reader: protobuf.Reader, field: FieldPlan, entries: Record<string, JsonValue>, at: At): void {
  const end = reader.uint32() + reader.pos;
  let key = "";
  let value: JsonValue | undefined;
  while (reader.pos < end) {
    const id = reader.uint32() >>> 3;
    if (id === 1) key = mapKey(readScalar(reader, { ...field, kind: field.keyKind }, at));
    else value = readElement(reader, field, below(at, key));
  }
  entries[key] = value ?? {};
}

/** JSON has only text for keys. */
function mapKey(key: JsonValue): string {
  return typeof key === "string" ? key : JSON.stringify(key);
}

function readAny(reader: protobuf.Reader, end: number, at: At | undefined): JsonMessage {
  let typeUrl = "";
  let content: Uint8Array = new Uint8Array();
  while (reader.pos < end) {
    const id = reader.uint32() >>> 3;
    if (id === 1) typeUrl = reader.string();
    else content = reader.bytes();
  }
  const plan = messagePlan(messageNameOf(typeUrl));
  const value = readMessage(content, plan, at);
  return plan.form === "message" ? { "@type": typeUrl, ...(value as JsonMessage) } : { "@type": typeUrl, value };
}
