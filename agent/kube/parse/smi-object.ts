// An SMI object in whatever version it comes, read field by field as the version that is stored. Used by the SMI parsers.
import { toStored } from "../../smi/convert.ts";
import type { Result } from "../../../shared/result.ts";
import { isObject } from "../json.ts";
import { readObject, type FieldReader } from "./field-reader.ts";

export function readSmiObject<T>(object: unknown, read: (root: FieldReader) => T): Result<T> {
  const stored = isObject(object) ? toStored(object) : { ok: true as const, value: object };
  return stored.ok ? readObject(stored.value, read) : stored;
}
