// The ConfigMap `isthmus-membership` in the system namespace: which cluster of which fleet this is. The init container of
// the gateway waits for it, because nothing else tells a pod that the cluster has joined. Written by the leader once the
// cluster has joined; it holds nothing secret.
import { parseClusterName, parseFleetDomain, type ClusterName, type FleetDomain } from "../../shared/ids.ts";
import type { JsonObject } from "./json.ts";
import { fieldOf, stringOf } from "./json.ts";
import type { Kube } from "./kube.ts";
import { apiVersionOf, configMaps } from "./resources.ts";
import { createWriter, type Writer } from "./writer.ts";

export const membershipConfigMap = "isthmus-membership";

export interface Membership {
  readonly cluster: ClusterName;
  readonly fleetDomain: FleetDomain;
}

export function createMembershipWriter(kube: Kube): Writer<Membership> {
  const at = { resource: configMaps, namespace: kube.names.system, name: membershipConfigMap };
  return createWriter<Membership>({
    ...kube,
    name: "membership",
    write: async (membership) => {
      await kube.client.apply(at, membershipObject(kube.names.system, membership), true);
    },
  });
}

export function membershipObject(namespace: string, { cluster, fleetDomain }: Membership): JsonObject {
  return {
    apiVersion: apiVersionOf(configMaps),
    kind: configMaps.kind,
    metadata: { name: membershipConfigMap, namespace, labels: { "app.kubernetes.io/part-of": "isthmus" } },
    data: { cluster, fleetDomain },
  };
}

/** Undefined while the ConfigMap is not complete. */
export function membershipOf(configMap: unknown): Membership | undefined {
  const cluster = parseClusterName(stringOf(fieldOf(configMap, "data", "cluster")));
  const fleetDomain = parseFleetDomain(stringOf(fieldOf(configMap, "data", "fleetDomain")));
  return cluster.ok && fleetDomain.ok ? { cluster: cluster.value, fleetDomain: fleetDomain.value } : undefined;
}
