// The resources of one proxy while they are put together, by type and name. Used by what translate.ts calls.
import type { JsonMessage, ResourceType } from "./resource.ts";

export type ResourceMaps = Record<ResourceType, Map<string, JsonMessage>>;

export function put(into: Map<string, JsonMessage>, message: JsonMessage): void {
  const name = message["name"] ?? message["cluster_name"];
  if (typeof name !== "string") throw new Error("an xDS resource must have a name");
  into.set(name, message);
}

export function noResources(): ResourceMaps {
  return { cds: new Map(), eds: new Map(), lds: new Map(), rds: new Map(), ecds: new Map(), sds: new Map() };
}

export function copyOf(resources: ResourceMaps): ResourceMaps {
  const { cds, eds, lds, rds, ecds, sds } = resources;
  const outbound = { cds: new Map(cds), eds: new Map(eds), lds: new Map(lds) };
  return { ...outbound, rds: new Map(rds), ecds: new Map(ecds), sds: new Map(sds) };
}
