// Puts the authority of the agent's serving certificate into `caBundle` of our APIService: the API server trusts nothing else. Called by
// agent/traffic-metrics-api.ts whenever that authority changes. Never creates it: the chart does, where a Prometheus is named.
import { isApiError } from "./api-error.ts";
import type { KubeClient } from "./client.ts";
import { fieldOf } from "./json.ts";
import { apiServices } from "./resources.ts";

const name = "v1alpha1.metrics.smi-spec.io";

/** False when there is no such APIService (any more). */
export async function trustInApiService(client: KubeClient, caPem: string, signal: AbortSignal): Promise<boolean> {
  const at = { resource: apiServices, name };
  const caBundle = Buffer.from(caPem, "utf8").toString("base64");
  try {
    const found = await client.get(at, signal);
    if (fieldOf(found, "spec", "caBundle") !== caBundle) await client.mergePatch(at, { spec: { caBundle } });
    return true;
  } catch (error) {
    if (isApiError(error, "not-found")) return false;
    throw error;
  }
}
