// What convert.ts wants of each kind: the way to the stored version and back. Everything that is not named in a conversion
// goes through as it is, so that nothing is lost for want of a line here.
import type { JsonObject } from "../kube/json.ts";
import type { Result } from "../../shared/result.ts";
import type { Kept } from "./kept.ts";

export interface Converted {
  readonly object: JsonObject;
  readonly kept: Kept;
}

export interface Conversion {
  /** `version` is never the stored one. */
  up(version: string, from: Converted): Result<Converted>;
  down(version: string, from: Converted): Converted;
}

export const versionCode = "ISTHMUS_SMI_VERSION";
