// The ConfigMap `isthmus-trust` as it stands in a namespace: what the trust writer compares with.
import type { Result } from "../../../shared/result.ts";
import { readObject } from "./field-reader.ts";
import { readNames, type Names } from "./metadata.ts";

/** A fleet has a few roots; a ConfigMap holds 1 MiB. */
const MAX_PEM = 1024 * 1024;
export const rootsKey = "roots.pem";

export interface TrustConfigMapRecord extends Names {
  readonly rootsPem: string;
}

export function parseTrustConfigMap(object: unknown): Result<TrustConfigMapRecord> {
  return readObject(object, (root) => ({
    ...readNames(root),
    rootsPem: root.at("data").at(rootsKey).text({ otherwise: "", maxLength: MAX_PEM }),
  }));
}
