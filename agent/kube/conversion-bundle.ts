// Tells the API server where SMI objects are converted and whom to trust there: `conversion.webhook.clientConfig` of our CRDs.
// Waits for no watch: where an object is stored in an older version, no watch is complete before this is written. A CRD that
// converts in another way, or not at all, is somebody else's and stays as it is. Run as leader.
import { smiKinds, type SmiKind } from "../smi/versions.ts";
import { isApiError } from "./api-error.ts";
import { fieldOf } from "./json.ts";
import type { Kube } from "./kube.ts";
import { apiVersionOf, customResourceDefinitions } from "./resources.ts";
import { createWriter, type Writer } from "./writer.ts";

/** A CRD is replaced once in a long while, and then by hand: a minute of refused older versions loses nothing. */
const REFRESH_MS = 60_000;
const service = { name: "isthmus-agent", path: "/convert", port: 443 };

/** The wish is the PEM of the authority, or of the old and the new one while it is replaced. */
export function createConversionWriter(kube: Kube): Writer<string> {
  const write = async (caPem: string, signal: AbortSignal) => {
    for (const { group, plural, versions } of Object.values<SmiKind>(smiKinds)) {
      signal.throwIfAborted();
      if (versions.length > 1) await writeBundle(kube, `${plural}.${group}`, caPem);
    }
  };
  return createWriter({ ...kube, name: "conversion", refreshMs: REFRESH_MS, write });
}

async function writeBundle(kube: Kube, name: string, caPem: string): Promise<void> {
  const at = { resource: customResourceDefinitions, name };
  try {
    const present = fieldOf(await kube.client.get(at), "spec", "conversion");
    const client = fieldOf(present, "webhook", "clientConfig");
    if (fieldOf(client, "service", "name") !== service.name) return;
    const caBundle = Buffer.from(caPem, "utf8").toString("base64");
    const namespace = kube.names.system;
    if (fieldOf(client, "caBundle") === caBundle && fieldOf(client, "service", "namespace") === namespace) return;
    await kube.client.mergePatch(at, {
      apiVersion: apiVersionOf(customResourceDefinitions),
      kind: customResourceDefinitions.kind,
      spec: { conversion: { webhook: { clientConfig: { caBundle, service: { ...service, namespace } } } } },
    });
  } catch (error) {
    // not installed: nothing to do until it is
    if (!isApiError(error, "not-found")) throw error;
  }
}
