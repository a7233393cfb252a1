// multicluster.x-k8s.io ServiceExport (v1beta1 and v1alpha1 have one schema) -> ExportInput, and the conditions it shows.
import type { ExportInput } from "../../ir/inputs.ts";
import type { Result } from "../../../shared/result.ts";
import { readObject } from "./field-reader.ts";
import { isBeingDeleted, readCreatedAtMs, readNames } from "./metadata.ts";

/** An export that is being deleted is withdrawn, whatever finalizer holds the object. */
export function parseServiceExport(object: unknown): Result<ExportInput | undefined> {
  return readObject(object, (root) => {
    if (isBeingDeleted(root)) return undefined;
    return { ...readNames(root), createdAtMs: readCreatedAtMs(root) };
  });
}
