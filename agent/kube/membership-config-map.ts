// The ConfigMap `isthmus-membership` in the system namespace: which cluster of which fleet this is, as the files with which a
// gateway's Envoy starts. Nothing else tells a gateway that the cluster has joined, and nothing secret is in it. Run as leader.
//
// A gateway pod that is older than the ConfigMap mounts it empty and waits. The kubelet looks at a pod's volumes again when
// the pod changes, else about once a minute: so such a pod gets an annotation as soon as it can start.
import type { ClusterName, FleetDomain } from "../../shared/ids.ts";
import { gatewayFiles } from "../xds/gateway-bootstrap.ts";
import { isApiError } from "./api-error.ts";
import { sameValue, type JsonObject } from "./json.ts";
import type { Kube } from "./kube.ts";
import { apiVersionOf, configMaps, pods } from "./resources.ts";
import { createWriter, type Writer } from "./writer.ts";

export const membershipConfigMap = "isthmus-membership";
const gatewayAccount = "isthmus-gateway";
const annotation = "isthmus.dev/member-of";
/** Somebody may have removed it: written again after this long, though nothing changed here. */
const REWRITE_MS = 5 * 60_000;

export interface Membership {
  readonly cluster: ClusterName;
  readonly fleetDomain: FleetDomain;
}

export function createMembershipWriter(kube: Kube): Writer<Membership> {
  const at = { resource: configMaps, namespace: kube.names.system, name: membershipConfigMap };
  const woken = new Set<string>();
  let written: { readonly body: JsonObject; readonly atMs: number } | undefined;
  return createWriter<Membership>({
    ...kube,
    name: "membership",
    write: async (membership, signal) => {
      const body = membershipObject(kube.names.system, membership);
      const isFresh = written !== undefined && kube.clock.now() - written.atMs < REWRITE_MS;
      if (!isFresh || !sameValue(written?.body, body)) {
        await kube.client.apply(at, body, true);
        written = { body, atMs: kube.clock.now() };
      }
      await wakeGateways(kube, { membership, woken }, signal);
    },
  });
}

export function membershipObject(namespace: string, { cluster, fleetDomain }: Membership): JsonObject {
  return {
    apiVersion: apiVersionOf(configMaps),
    kind: configMaps.kind,
    metadata: { name: membershipConfigMap, namespace, labels: { "app.kubernetes.io/part-of": "isthmus" } },
    data: gatewayFiles({ cluster, fleetDomain, namespace }),
  };
}

interface Waking {
  readonly membership: Membership;
  /** Uids of the pods that were annotated: once is enough. */
  readonly woken: Set<string>;
}

/** Not before the roots are there too: a proxy needs both, and the kubelet looks once for each change. */
async function wakeGateways(kube: Kube, { membership, woken }: Waking, signal: AbortSignal): Promise<void> {
  const namespace = kube.names.system;
  if (kube.stores.trust.get(namespace, kube.names.trustConfigMap)?.record === undefined) return;
  const gateways = kube.stores.pods
    .records()
    .filter((pod) => pod.namespace === namespace && pod.serviceAccount === gatewayAccount);
  const present = new Set(gateways.map(({ uid }) => uid));
  for (const uid of woken) if (!present.has(uid)) woken.delete(uid);
  const memberOf = `${membership.cluster}.${membership.fleetDomain}`;
  for (const { name, uid, ready, terminating } of gateways) {
    if (ready || terminating || woken.has(uid)) continue;
    signal.throwIfAborted();
    // with its uid, so that it is this pod and not a later one of its name
    const body = { metadata: { uid, annotations: { [annotation]: memberOf } } };
    try {
      await kube.client.mergePatch({ resource: pods, namespace, name }, body);
    } catch (error) {
      if (!isApiError(error, "not-found") && !isApiError(error, "conflict")) throw error; // gone meanwhile
    }
    woken.add(uid);
  }
}
