// The two ways Envoy's JSON names a typed message: a bare Any and a named extension. Used by every translator here.
// It must stay free of any meaning: what a field means is said where it is used.
import type { JsonMessage } from "./resource.ts";

export function typed(type: string, fields: JsonMessage = {}): JsonMessage {
  return { "@type": `type.googleapis.com/${type}`, ...fields };
}

export function extension(name: string, type: string, fields: JsonMessage = {}): JsonMessage {
  return { name, typed_config: typed(type, fields) };
}

/** Resources of every type come over the one ADS stream, so that their order is ours (envoy-facts 6). */
export const fromAds: JsonMessage = { ads: {}, resource_api_version: "V3" };
