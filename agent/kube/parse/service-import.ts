// What the writer of ServiceImports must know of those that exist, of any author: who owns one, and what it says now.
import type { Result } from "../../../shared/result.ts";
import type { JsonObject } from "../json.ts";
import { fieldOf, isObject } from "../json.ts";
import { readObject } from "./field-reader.ts";
import { entryOf, labelName, readLabels, readNames, type Names } from "./metadata.ts";

export const managedByUs = "isthmus-agent";

export interface ServiceImportRecord extends Names {
  /** Made by an agent of ours; others are never touched. */
  readonly ours: boolean;
  readonly spec: JsonObject;
  readonly status: JsonObject;
}

export function parseServiceImport(object: unknown): Result<ServiceImportRecord> {
  return readObject(object, (root) => ({
    ...readNames(root),
    ours: entryOf(readLabels(root), labelName.managedBy) === managedByUs,
    spec: objectAt(object, "spec"),
    status: objectAt(object, "status"),
  }));
}

function objectAt(object: unknown, field: string): JsonObject {
  const value = fieldOf(object, field);
  return isObject(value) ? value : {};
}
