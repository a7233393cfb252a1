// Scalars between proto3 JSON and the wire: 64-bit numbers may be strings, bytes are base64, enums are names.
// Called by encode and decode; every value out of its type's range is an error, never a wrapped number.
import protobuf from "protobufjs";
import { WireError, type At, type JsonValue } from "./json.ts";
import type { EnumPlan, FieldPlan } from "./schema.ts";

type ScalarField = Pick<FieldPlan, "kind" | "enumeration">;

const ranges: Readonly<Record<string, readonly [bigint, bigint]>> = {
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  sint32: [-(2n ** 31n), 2n ** 31n - 1n],
  sfixed32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  fixed32: [0n, 2n ** 32n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  sint64: [-(2n ** 63n), 2n ** 63n - 1n],
  sfixed64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
  fixed64: [0n, 2n ** 64n - 1n],
};

/** Writes the value alone, without its tag. */
export function writeScalar(writer: protobuf.Writer, field: ScalarField, value: JsonValue, at: At | undefined): void {
  switch (field.kind) {
    case "string":
      writer.string(text(value, at));
      return;
    case "bool":
      writer.bool(boolean(value, at));
      return;
    case "bytes":
      writer.bytes(base64(value, at));
      return;
    case "enum":
      writer.int32(enumNumber(field.enumeration(), value, at));
      return;
    case "double":
    case "float":
      writer[field.kind](real(value, at));
      return;
    default:
      writeInteger(writer, field.kind, value, at);
  }
}

/** Whether a field without presence would say nothing: then it is not written. */
export function isDefaultScalar(field: ScalarField, value: JsonValue): boolean {
  switch (field.kind) {
    case "string":
    case "bytes":
      return value === "";
    case "bool":
      return value === false;
    case "enum":
      return value === 0 || (typeof value === "string" && field.enumeration().idOf[value] === 0);
    default:
      // -0 is not the default: its sign is a bit of its own
      return Object.is(value, 0) || value === "0";
  }
}

type Kind32 = "int32" | "uint32" | "sint32" | "fixed32" | "sfixed32";
type Kind64 = "int64" | "uint64" | "sint64" | "fixed64" | "sfixed64";

const kinds32: ReadonlySet<string> = new Set(["int32", "uint32", "sint32", "fixed32", "sfixed32"]);
const kinds64: ReadonlySet<string> = new Set(["int64", "uint64", "sint64", "fixed64", "sfixed64"]);

function writeInteger(writer: protobuf.Writer, kind: string, value: JsonValue, at: At | undefined): void {
  // ports and weights, by the thousand: a small number is in every type's range
  if (typeof value === "number" && value >= 0 && value <= 0x7fffffff && Number.isInteger(value)) {
    writer[kind as Kind32 | Kind64](value);
    return;
  }
  const number = integer(kind, value, at);
  if (kinds32.has(kind)) writer[kind as Kind32](Number(number));
  else writer[kind as Kind64](longBits(number));
}

function longBits(number: bigint): protobuf.Long {
  const bits = BigInt.asUintN(64, number);
  return { low: Number(bits & 0xffffffffn), high: Number(bits >> 32n), unsigned: true };
}

function text(value: JsonValue, at: At | undefined): string {
  if (typeof value !== "string") throw new WireError(at, `must be a string, is ${typeName(value)}`);
  return value;
}

function boolean(value: JsonValue, at: At | undefined): boolean {
  if (typeof value !== "boolean") throw new WireError(at, `must be true or false, is ${typeName(value)}`);
  return value;
}

function base64(value: JsonValue, at: At | undefined): Uint8Array {
  const encoded = text(value, at);
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(encoded)) throw new WireError(at, "must be base64");
  return Buffer.from(encoded, "base64");
}

function real(value: JsonValue, at: At | undefined): number {
  if (value === "NaN" || value === "Infinity" || value === "-Infinity") return Number(value);
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  if (typeof number !== "number" || Number.isNaN(number)) {
    throw new WireError(at, `must be a number, is ${typeName(value)}`);
  }
  return number;
}

function integer(kind: string, value: JsonValue, at: At | undefined): bigint {
  const whole =
    (typeof value === "number" && Number.isInteger(value)) || (typeof value === "string" && /^-?\d+$/.test(value));
  if (!whole) throw new WireError(at, `must be a whole number, is ${typeName(value)}`);
  const number = BigInt(value);
  const [low, high] = ranges[kind] ?? [0n, 0n];
  if (number < low || number > high) throw new WireError(at, `${number} is out of range for ${kind}`);
  return number;
}

function enumNumber(plan: EnumPlan, value: JsonValue, at: At | undefined): number {
  const number = typeof value === "string" ? plan.idOf[value] : typeof value === "number" ? value : undefined;
  if (number === undefined || plan.nameOf[number] === undefined) {
    throw new WireError(at, `${JSON.stringify(value)} is no value of ${plan.name}`);
  }
  return number;
}

function typeName(value: JsonValue): string {
  return value === null ? "null" : Array.isArray(value) ? "a list" : typeof value;
}

/** Reads one scalar in its JSON form: 64-bit integers as strings, bytes as base64, enums as names. */
export function readScalar(reader: protobuf.Reader, field: ScalarField, at: At | undefined): JsonValue {
  switch (field.kind) {
    case "string":
      return reader.string();
    case "bool":
      return reader.bool();
    case "bytes":
      return Buffer.from(reader.bytes()).toString("base64");
    case "enum":
      return enumName(field.enumeration(), reader.int32(), at);
    case "double":
    case "float":
      return realJson(reader[field.kind]());
    default:
      return readInteger(reader, field.kind, at);
  }
}

function enumName(plan: EnumPlan, number: number, at: At | undefined): string {
  const name = plan.nameOf[number];
  if (name === undefined) throw new WireError(at, `${number} is no value of ${plan.name}`);
  return name;
}

function realJson(number: number): JsonValue {
  return Number.isFinite(number) ? number : String(number);
}

function readInteger(reader: protobuf.Reader, kind: string, at: At | undefined): JsonValue {
  if (kinds32.has(kind)) return reader[kind as Kind32]();
  if (!kinds64.has(kind)) throw new WireError(at, `unknown scalar type ${kind}`);
  const { low, high } = reader[kind as Kind64]();
  const bits = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  return String(kind === "uint64" || kind === "fixed64" ? bits : BigInt.asIntN(64, bits));
}
