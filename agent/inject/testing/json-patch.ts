// Applies a JSON patch as the API server does (RFC 6902), for tests: what counts is the pod that comes out.
import type { PatchOperation } from "../json-patch.ts";

type Container = Record<string, unknown> | unknown[];

function step(at: unknown, key: string): unknown {
  if (Array.isArray(at)) return at[Number(key)] as unknown;
  return (at as Record<string, unknown>)[key];
}

function applyOne(document: unknown, operation: PatchOperation): void {
  const keys = operation.path
    .split("/")
    .slice(1)
    .map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
  const last = keys.pop();
  if (last === undefined) throw new Error("the whole document is never replaced");
  const parent = keys.reduce(step, document) as Container | undefined;
  if (parent === undefined) throw new Error(`${operation.path}: its parent does not exist`);
  if (Array.isArray(parent)) {
    const index = last === "-" ? parent.length : Number(last);
    if (operation.op === "add") parent.splice(index, 0, operation.value);
    else if (index >= parent.length) throw new Error(`${operation.path} does not exist`);
    else if (operation.op === "replace") parent[index] = operation.value;
    else parent.splice(index, 1);
    return;
  }
  if (operation.op !== "add" && !Object.hasOwn(parent, last)) throw new Error(`${operation.path} does not exist`);
  if (operation.op === "remove") Reflect.deleteProperty(parent, last);
  else parent[last] = operation.value;
}

export function applyPatch(document: unknown, patch: readonly PatchOperation[]): unknown {
  const patched: unknown = structuredClone(document);
  for (const operation of patch) applyOne(patched, operation);
  return patched;
}
