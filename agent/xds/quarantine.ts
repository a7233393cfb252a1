// Resources that an Envoy of a class refused: the class keeps the last version that was accepted, until the content changes.
// Called by agent/ads/classes. Without it every new stream of the class would be sent the same poison, and a proxy that starts
// would have nothing under that name (reliability-security.md 4.34).
import type { Resources } from "./diff.ts";
import { resourceTypes, type EncodedResource, type ResourceType, type Snapshot } from "./resource.ts";

export interface Refused {
  readonly resource: EncodedResource;
  readonly errorText: string;
  /** What is served instead. */
  readonly lastGood: EncodedResource;
}

/** By `<type> <name>`. */
export type Quarantine = ReadonlyMap<string, Refused>;

export function quarantineKey(resource: { readonly type: ResourceType; readonly name: string }): string {
  return `${resource.type} ${resource.name}`;
}

/** Entries whose resource has changed or gone since are over. Returns the same map when none is. */
export function stillRefused(quarantine: Quarantine, published: Snapshot): Quarantine {
  const kept = [...quarantine].filter(
    ([, { resource }]) => published.resources[resource.type].get(resource.name)?.version === resource.version,
  );
  return kept.length === quarantine.size ? quarantine : new Map(kept);
}

/** What the class is served: the published resources, the refused ones in their last good version. */
export function servedSnapshot(published: Snapshot, quarantine: Quarantine): Snapshot {
  if (quarantine.size === 0) return published;
  const resources = {} as Record<ResourceType, Resources>;
  for (const type of resourceTypes) {
    const substitutes = [...quarantine.values()].filter((refused) => refused.resource.type === type);
    resources[type] =
      substitutes.length === 0 ? published.resources[type] : substituted(published.resources[type], substitutes);
  }
  return { resources };
}

function substituted(published: Resources, refused: readonly Refused[]): Resources {
  const served = new Map(published);
  for (const { resource, lastGood } of refused) served.set(resource.name, lastGood);
  return served;
}
