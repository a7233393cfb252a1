// What one version of an object says and another has no field for. It stands in an annotation of the other, by the version
// that has the field, so that whoever writes the object back through the poorer version takes nothing away.
import { fieldOf, isObject, stringOf, type JsonObject } from "../kube/json.ts";
import { mapOf, without } from "./fields.ts";

export const keptAnnotation = "isthmus.dev/kept";
/** An object's annotations may take 256 KiB together; beyond this the poorer version can be read but not written. */
export const MAX_KEPT_BYTES = 128 * 1024;
export const tooLarge = "too large to keep here";

/** By version. */
export type Kept = Readonly<Record<string, unknown>>;

export function readKept(object: JsonObject): Kept {
  const text = stringOf(fieldOf(object, "metadata", "annotations", keptAnnotation));
  if (text === "") return {};
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : {};
  } catch {
    return {}; // somebody's own text: nothing of ours is in it
  }
}

export function annotationOf(object: JsonObject, key: string): string {
  return stringOf(fieldOf(object, "metadata", "annotations", key));
}

/** Undefined takes the annotation away; the map goes with its last entry. */
export function withAnnotation(object: JsonObject, key: string, value: string | undefined): JsonObject {
  const metadata = mapOf(object["metadata"]);
  const before = mapOf(metadata["annotations"]);
  if (value === undefined && !Object.hasOwn(before, key)) return object;
  const annotations = value === undefined ? without(before, key) : { ...before, [key]: value };
  const others = without(metadata, "annotations");
  return { ...object, metadata: Object.keys(annotations).length === 0 ? others : { ...others, annotations } };
}

export function withKept(object: JsonObject, kept: Kept): JsonObject {
  if (Object.keys(kept).length === 0) return withAnnotation(object, keptAnnotation, undefined);
  const text = JSON.stringify(kept);
  const fits = Buffer.byteLength(text) <= MAX_KEPT_BYTES;
  const mark = Object.fromEntries(Object.keys(kept).map((version) => [version, tooLarge]));
  return withAnnotation(object, keptAnnotation, fits ? text : JSON.stringify(mark));
}
