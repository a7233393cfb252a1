// Puts the authority of the webhook's serving certificate into `caBundle` of our MutatingWebhookConfiguration, and again
// whenever somebody (a Helm upgrade) has put something else there. Run as leader.
import type { Kube } from "./kube.ts";
import { apiVersionOf, mutatingWebhooks } from "./resources.ts";
import { createWriter, type Writer } from "./writer.ts";

/** The wish is the PEM of the authority, or of the old and the new one while it is replaced. */
export function createWebhookWriter(kube: Kube): Writer<string> {
  return createWriter({ ...kube, name: "webhook", write: (caPem) => writeBundle(kube, caPem) });
}

async function writeBundle(kube: Kube, caPem: string): Promise<void> {
  const caBundle = Buffer.from(caPem, "utf8").toString("base64");
  const name = kube.names.webhook;
  const record = kube.stores.webhook.get("", name)?.record;
  // not installed (injection switched off in the chart): nothing to do until it appears
  if (record === undefined || record.webhooks.every((webhook) => webhook.caBundle === caBundle)) return;
  const webhooks = record.webhooks.map((webhook) => ({ name: webhook.name, clientConfig: { caBundle } }));
  const body = {
    apiVersion: apiVersionOf(mutatingWebhooks),
    kind: mutatingWebhooks.kind,
    metadata: { name },
    webhooks,
  };
  await kube.client.apply({ resource: mutatingWebhooks, name }, body, true);
}
