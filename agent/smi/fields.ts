// Fields of an object that nobody has checked yet, as the conversions take them apart.
import { isObject, type JsonObject } from "../kube/json.ts";

/** A field's own fields, none when it is no map. */
export function mapOf(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}

export function without(map: JsonObject, ...keys: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(map).filter(([key]) => !keys.includes(key)));
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}

/** Absent, empty and null mean the same in every field of SMI. */
export function isNothing(value: unknown): boolean {
  if (value === undefined || value === null) return true;
  return Array.isArray(value) ? value.length === 0 : isObject(value) && Object.keys(value).length === 0;
}
