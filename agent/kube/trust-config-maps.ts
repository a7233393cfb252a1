// Keeps the ConfigMap `isthmus-trust` (the fleet's roots) in every mesh namespace and in our own: sidecars and gateways
// mount it and verify the agent against it before they trust anything else. Run as leader.
import type { Kube } from "./kube.ts";
import { labelName } from "./parse/metadata.ts";
import { managedByUs } from "./parse/service-import.ts";
import { rootsKey } from "./parse/trust-config-map.ts";
import { apiVersionOf, configMaps } from "./resources.ts";
import { createWriter, type Writer } from "./writer.ts";

/** The wish is the roots' PEM; which namespaces need it is read from the stores when it is written. */
export function createTrustWriter(kube: Kube): Writer<string> {
  return createWriter({ ...kube, name: "trust", write: (rootsPem, signal) => writeTrust(kube, rootsPem, signal) });
}

async function writeTrust(kube: Kube, rootsPem: string, signal: AbortSignal): Promise<void> {
  const wanted = namespacesOf(kube);
  for (const namespace of wanted) {
    signal.throwIfAborted();
    await ensureTrust(kube, namespace, rootsPem);
  }
}

/**
 * The roots in one namespace. The injector calls it before it lets a pod in: a kubelet that does not find the ConfigMap
 * tries again ever later, up to two minutes, while the pod waits.
 */
export async function ensureTrust(kube: Kube, namespace: string, rootsPem: string): Promise<void> {
  const name = kube.names.trustConfigMap;
  if (kube.stores.trust.get(namespace, name)?.record?.rootsPem === rootsPem) return;
  await kube.client.apply(
    { resource: configMaps, namespace, name },
    {
      apiVersion: apiVersionOf(configMaps),
      kind: configMaps.kind,
      metadata: { name, namespace, labels: { [labelName.managedBy]: managedByUs } },
      data: { [rootsKey]: rootsPem },
    },
    true,
  );
}

/** Left in a namespace that leaves the mesh: its sidecars run until their pods are replaced, and a root is no secret. */
function namespacesOf(kube: Kube): readonly string[] {
  const records = kube.stores.namespaces.records().filter((record) => !record.terminating);
  return records.filter((record) => record.meshed || record.name === kube.names.system).map((record) => record.name);
}
