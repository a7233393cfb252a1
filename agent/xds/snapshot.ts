// From the resources of one proxy class to their bytes, with everything reused that did not change, and the check that a
// snapshot closes over its own references before anybody sees it. Called by the push loop; encoding comes as a parameter.
import type { Problem } from "../../shared/result.ts";
import type { Resources } from "./diff.ts";
import { referencesOf } from "./references.ts";
import {
  resourceTypes,
  typeUrls,
  type EncodedResource,
  type JsonMessage,
  type ResourceSet,
  type ResourceType,
  type Snapshot,
} from "./resource.ts";

export interface Encoded {
  readonly bytes: Uint8Array;
  readonly version: string;
}

/** `previous` are the bytes that the same resource had before: an encoder may reuse parts of them. */
export type EncodeResource = (typeUrl: string, value: JsonMessage, previous?: Uint8Array) => Encoded;

export type EncodeSnapshot = (set: ResourceSet, previous?: Snapshot) => Snapshot;

export const emptySnapshot: Snapshot = {
  resources: { cds: new Map(), eds: new Map(), lds: new Map(), rds: new Map(), ecds: new Map(), sds: new Map() },
};

/**
 * A message object that was encoded once, for any class, is not encoded again: translators return the same object for what
 * did not change. A type of which nothing changed keeps its map, which tells every stream at once that it has nothing to do.
 */
export function createSnapshotEncoder(encode: EncodeResource): EncodeSnapshot {
  const encoded = new WeakMap<JsonMessage, EncodedResource>();
  const encodeOne = (type: ResourceType, name: string, value: JsonMessage, before: EncodedResource | undefined) => {
    const made = encode(typeUrls[type], value, before?.bytes);
    if (before?.version === made.version) return before;
    return { type, name, version: made.version, bytes: made.bytes, needs: referencesOf(type, name, value) };
  };
  const encodeType = (type: ResourceType, values: ReadonlyMap<string, JsonMessage>, before: Resources): Resources => {
    let same = values.size === before.size;
    const resources = new Map<string, EncodedResource>();
    for (const [name, value] of values) {
      const old = before.get(name);
      let resource = encoded.get(value);
      if (resource?.type !== type || resource.name !== name) {
        resource = encodeOne(type, name, value, old);
        encoded.set(value, resource);
      }
      const kept = old !== undefined && old.version === resource.version ? old : resource;
      if (kept !== old) same = false;
      resources.set(name, kept);
    }
    return same ? before : resources;
  };
  return (set, previous = emptySnapshot) => {
    const resources = {} as Record<ResourceType, Resources>;
    for (const type of resourceTypes) resources[type] = encodeType(type, set[type], previous.resources[type]);
    return resourceTypes.every((type) => resources[type] === previous.resources[type]) ? previous : { resources };
  };
}

/**
 * What an Envoy would wait for or answer 503 for: a reference to a resource that the snapshot does not have. Such a
 * snapshot is not published; the last good one stays.
 */
export function checkConsistent(snapshot: Snapshot): Problem[] {
  return resourceTypes.flatMap((type) =>
    [...snapshot.resources[type].values()].flatMap((one) => dangling(snapshot, one)),
  );
}

function dangling(snapshot: Snapshot, resource: EncodedResource): readonly Problem[] {
  return resource.needs
    .filter((need) => !snapshot.resources[need.type].has(need.name))
    .map((need) => missing(resource, need));
}

function missing(resource: EncodedResource, need: EncodedResource["needs"][number]): Problem {
  return {
    code: "ISTHMUS_SNAPSHOT_REFERENCE",
    message: `${resource.type} ${resource.name} refers to ${need.type} ${need.name}, which is not in the snapshot`,
  };
}
