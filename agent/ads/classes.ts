// The proxy classes that have streams, and what each is served: the published snapshot with refused resources in their last
// good version. Called by server (publish) and stream (ACK, NACK). It writes to no stream: it says who has work.
import { quarantineKey, servedSnapshot, stillRefused, type Quarantine } from "../xds/quarantine.ts";
import { diffSnapshot } from "../xds/diff.ts";
import { resourceTypes, type EncodedResource, type ResourceType, type Snapshot } from "../xds/resource.ts";

export interface ClassState<Stream> {
  readonly key: string;
  readonly streams: Set<Stream>;
  published: Snapshot | undefined;
  /** What streams are brought to. */
  served: Snapshot | undefined;
  quarantine: Quarantine;
  /** The last version of each name that some stream of the class accepted. */
  readonly good: Readonly<Record<ResourceType, Map<string, EncodedResource>>>;
}

export function newClass<Stream>(key: string): ClassState<Stream> {
  return {
    key,
    streams: new Set(),
    published: undefined,
    served: undefined,
    quarantine: new Map(),
    good: { cds: new Map(), eds: new Map(), lds: new Map(), rds: new Map(), ecds: new Map(), sds: new Map() },
  };
}

/** True when there is something new to serve. */
export function publishTo(state: ClassState<unknown>, snapshot: Snapshot): boolean {
  if (state.published === snapshot) return false;
  if (state.published !== undefined) forgetRemoved(state, state.published, snapshot);
  state.published = snapshot;
  state.quarantine = stillRefused(state.quarantine, snapshot);
  state.served = servedSnapshot(snapshot, state.quarantine);
  return true;
}

function forgetRemoved(state: ClassState<unknown>, from: Snapshot, to: Snapshot): void {
  const diff = diffSnapshot(from, to);
  for (const type of resourceTypes) for (const name of diff[type].removed) state.good[type].delete(name);
}

export function accepted(state: ClassState<unknown>, resources: readonly EncodedResource[]): void {
  for (const resource of resources) {
    const good = state.good[resource.type];
    if (good.get(resource.name) !== resource) good.set(resource.name, resource);
  }
}

/**
 * Quarantines for the whole class, when there is a last good version to serve and nobody of the class accepted this one:
 * one odd proxy must not take a resource from the others. True when what is served changed.
 */
export function refusedBy(state: ClassState<unknown>, resource: EncodedResource, errorText: string): boolean {
  const lastGood = state.good[resource.type].get(resource.name);
  const current = state.published?.resources[resource.type].get(resource.name);
  if (state.published === undefined || lastGood === undefined) return false;
  if (lastGood.version === resource.version || current?.version !== resource.version) return false;
  const key = quarantineKey(resource);
  if (state.quarantine.has(key)) return false;
  state.quarantine = new Map(state.quarantine).set(key, { resource, errorText, lastGood });
  state.served = servedSnapshot(state.published, state.quarantine);
  return true;
}
