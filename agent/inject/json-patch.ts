// The part of JSON Patch (RFC 6902) that the webhook answers with. The API server applies it in order: an operation sees what
// those before it did.

export type PatchOperation =
  | { readonly op: "add" | "replace"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string };

/** RFC 6901: a key as one segment of a pointer. */
export function pointerSegment(key: string): string {
  return key.replaceAll("~", "~0").replaceAll("/", "~1");
}

/** Sets entries of a map that may not exist yet: adding a key to a missing map is an error in JSON Patch. */
export function setEntries(
  path: string,
  exists: boolean,
  entries: Readonly<Record<string, string>>,
): readonly PatchOperation[] {
  if (!exists) return [{ op: "add", path, value: entries }];
  return Object.entries(entries).map(([key, value]) => ({ op: "add", path: `${path}/${pointerSegment(key)}`, value }));
}

/** Puts items before those of a list that may not exist yet; the order of `items` is kept. */
export function prepend(path: string, exists: boolean, items: readonly unknown[]): readonly PatchOperation[] {
  if (!exists) return [{ op: "add", path, value: items }];
  return [...items].reverse().map((value) => ({ op: "add", path: `${path}/0`, value }));
}
