// An SMI object in whatever version it comes, read field by field as the version that is stored. Used by the SMI parsers.
import { toStored } from "../../smi/convert.ts";
import type { Result } from "../../../shared/result.ts";
import { isObject } from "../json.ts";
import type { PolicyInput } from "../../ir/inputs.ts";
import { readObject, type FieldReader } from "./field-reader.ts";
import { entryOf, labelName, readAnnotations, readLabels, readNames } from "./metadata.ts";
import { managedByUs } from "./service-import.ts";

export function readSmiObject<T>(object: unknown, read: (root: FieldReader) => T): Result<T> {
  const stored = isObject(object) ? toStored(object) : { ok: true as const, value: object };
  return stored.ok ? readObject(stored.value, read) : stored;
}

/** A label's value may hold neither `*` nor a comma, so an annotation says the same; `all` and dots stand for them in a label. */
const replicateKey = "isthmus.dev/replicate";

export function readPolicyNames(root: FieldReader): PolicyInput {
  const [labels, annotations] = [readLabels(root), readAnnotations(root)];
  const from = entryOf(labels, labelName.replicatedFrom);
  const isCopy = from !== "" && entryOf(labels, labelName.managedBy) === managedByUs;
  const wanted = `${entryOf(labels, replicateKey)},${entryOf(annotations, replicateKey)}`
    .split(/[,.]/)
    .map((member) => member.trim())
    .filter((member) => member !== "");
  const all = wanted.some((member) => member === "*" || member === "all");
  const replicate = all ? ["*"] : [...new Set(wanted)].sort();
  return {
    ...readNames(root),
    ...(replicate.length > 0 && !isCopy ? { replicate } : {}),
    ...(isCopy ? { replicatedFrom: from } : {}),
  };
}
