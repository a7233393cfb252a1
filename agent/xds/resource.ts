// An xDS resource and the set of them one proxy should have. Made by translate, diffed by snapshot, sent by agent/ads.
// A value is proto3 JSON until shared/wire.ts encodes it; `version` is the hash of those bytes.

export const resourceTypes = ["cds", "eds", "lds", "rds", "ecds", "sds"] as const;
export type ResourceType = (typeof resourceTypes)[number];

export const typeUrls: Readonly<Record<ResourceType, string>> = {
  cds: "type.googleapis.com/envoy.config.cluster.v3.Cluster",
  eds: "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
  lds: "type.googleapis.com/envoy.config.listener.v3.Listener",
  rds: "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
  ecds: "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
  sds: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
};

/** Canonical protobuf bytes of one resource; shared by every stream that has it. */
export interface EncodedResource {
  readonly type: ResourceType;
  readonly name: string;
  /** Content hash of `bytes`: equal content has equal version on every replica and after every restart. */
  readonly version: string;
  readonly bytes: Uint8Array;
  /**
   * Resources this one refers to. All must exist in the same snapshot; the EDS of a Cluster is sent again with it, and the RDS and
   * ECDS of a Listener that newly names it, else they stay warming (envoy-facts 6).
   */
  readonly needs: readonly { readonly type: ResourceType; readonly name: string }[];
}

/** All resources of one proxy at one instant, consistent (references close over it). Immutable. */
export interface Snapshot {
  readonly resources: Readonly<Record<ResourceType, ReadonlyMap<string, EncodedResource>>>;
}

/**
 * A message in proto3 JSON form with the proto's own snake_case field names, exactly as Envoy's documentation and a
 * bootstrap file spell it: Any is an object with "@type", Duration is "0.5s", wrappers are bare values, enums are names.
 * So a golden file can be read beside the Envoy documentation and fed to a real Envoy as it is.
 */
export type JsonMessage = { readonly [field: string]: JsonValue };
export type JsonValue = string | number | boolean | null | JsonMessage | readonly JsonValue[];

/** What translate returns: every resource of one proxy by type and name, not yet encoded. */
export type ResourceSet = Readonly<Record<ResourceType, ReadonlyMap<string, JsonMessage>>>;
