// v1 ServiceAccount -> AccountInput: its name is its identity in the mesh, nothing else of it matters.
import type { AccountInput } from "../../ir/inputs.ts";
import type { Result } from "../../../shared/result.ts";
import { readObject } from "./field-reader.ts";
import { readNames } from "./metadata.ts";

export function parseServiceAccount(object: unknown): Result<AccountInput> {
  return readObject(object, readNames);
}
