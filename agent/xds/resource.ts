// An xDS resource and the set of them one proxy should have. Made by translate, diffed by snapshot, sent by agent/ads.
// `value` is a plain message object (camelCase as protobufjs takes it) until shared/wire.ts encodes it; `version` is the hash of those bytes.

export const resourceTypes = ["cds", "eds", "lds", "rds", "sds"] as const;
export type ResourceType = (typeof resourceTypes)[number];

export const typeUrls: Readonly<Record<ResourceType, string>> = {
  cds: "type.googleapis.com/envoy.config.cluster.v3.Cluster",
  eds: "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
  lds: "type.googleapis.com/envoy.config.listener.v3.Listener",
  rds: "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
  sds: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
};

/** Canonical protobuf bytes of one resource; shared by every stream that has it. */
export interface EncodedResource {
  readonly type: ResourceType;
  readonly name: string;
  /** Content hash of `bytes`: equal content has equal version on every replica and after every restart. */
  readonly version: string;
  readonly bytes: Uint8Array;
  /** Names of resources this one needs to leave the warming state: EDS of a Cluster, RDS of a Listener (envoy-facts 6). */
  readonly needs: readonly { readonly type: ResourceType; readonly name: string }[];
}

/** All resources of one proxy at one instant, consistent (references close over it). Immutable. */
export interface Snapshot {
  readonly resources: Readonly<Record<ResourceType, ReadonlyMap<string, EncodedResource>>>;
}
