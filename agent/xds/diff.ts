// What differs between two snapshots, by content version. Called by subscription (per type) and by whoever reports a push.
// Streams of one class share the same two maps, so a difference is computed once and remembered as long as both live.
import { resourceTypes, type EncodedResource, type ResourceType, type Snapshot } from "./resource.ts";

export interface TypeDiff {
  /** New or with another version, as they are in the later snapshot. */
  readonly changed: readonly EncodedResource[];
  readonly removed: readonly string[];
}

export type Resources = ReadonlyMap<string, EncodedResource>;

const nothing: TypeDiff = { changed: [], removed: [] };
const known = new WeakMap<Resources, WeakMap<Resources, TypeDiff>>();

export function diffResources(from: Resources, to: Resources): TypeDiff {
  if (from === to) return nothing;
  let later = known.get(from);
  if (later === undefined) known.set(from, (later = new WeakMap()));
  let diff = later.get(to);
  if (diff === undefined) later.set(to, (diff = compare(from, to)));
  return diff;
}

export function diffSnapshot(from: Snapshot, to: Snapshot): Readonly<Record<ResourceType, TypeDiff>> {
  const diff = {} as Record<ResourceType, TypeDiff>;
  for (const type of resourceTypes) diff[type] = diffResources(from.resources[type], to.resources[type]);
  return diff;
}

function compare(from: Resources, to: Resources): TypeDiff {
  const changed: EncodedResource[] = [];
  for (const [name, resource] of to) {
    const before = from.get(name);
    if (before !== resource && before?.version !== resource.version) changed.push(resource);
  }
  const removed = [...from.keys()].filter((name) => !to.has(name));
  return changed.length === 0 && removed.length === 0 ? nothing : { changed, removed };
}
