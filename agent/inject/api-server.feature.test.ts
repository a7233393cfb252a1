// The webhook under a real API server: it calls, trusts our CA by the caBundle, applies the patch, and finds the pod valid.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { systemClock } from "../../shared/clock.ts";
import { jsonLog } from "../../shared/log.ts";
import { createClient, type KubeClient } from "../kube/client.ts";
import { openConnection } from "../kube/connection.ts";
import { fieldOf, type JsonObject } from "../kube/json.ts";
import { mutatingWebhooks, namespaces, pods } from "../kube/resources.ts";
import { kubePrograms, startApiServer, type RealApiServer } from "../kube/testing/real-api-server.ts";
import { eventually } from "../xds/testing/envoy.ts";
import { someSettings } from "./testing/settings.ts";
import { ensureWebhookTrust } from "./webhook-ca.ts";
import { startWebhookServer, type WebhookServer } from "./webhook-server.ts";

const programs = await kubePrograms();
const testdata = join(import.meta.dirname, "testdata");

/** As the chart writes it, but by URL: there is no Service without a cluster. */
function webhookConfiguration(port: number, caBundlePem: string): JsonObject {
  return {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "MutatingWebhookConfiguration",
    metadata: { name: "isthmus-agent" },
    webhooks: [
      {
        name: "isthmus.inject.isthmus.dev",
        admissionReviewVersions: ["v1"],
        sideEffects: "None",
        failurePolicy: "Fail",
        reinvocationPolicy: "IfNeeded",
        clientConfig: {
          url: `https://localhost:${port}/inject`,
          caBundle: Buffer.from(caBundlePem).toString("base64"),
        },
        rules: [
          { apiGroups: [""], apiVersions: ["v1"], resources: ["pods"], operations: ["CREATE"], scope: "Namespaced" },
        ],
        namespaceSelector: { matchLabels: { "isthmus.dev/inject": "enabled" } },
      },
    ],
  };
}

describe.skipIf(programs === undefined)("under a real API server", () => {
  let api: RealApiServer | undefined;
  let webhook: WebhookServer | undefined;
  let client: KubeClient;

  beforeAll(async () => {
    api = await startApiServer(programs!);
    client = createClient(await openConnection({ kind: "kubeconfig", path: api.kubeconfig() }, systemClock));
    const store = { load: () => Promise.resolve(undefined), save: () => Promise.resolve({ saved: true }) };
    const trust = await ensureWebhookTrust({ store, clock: systemClock, serverName: "localhost" });
    webhook = await startWebhookServer({
      port: 0,
      host: "127.0.0.1",
      certificate: trust.certificate,
      settings: () => someSettings(),
      namespace: (name) => Promise.resolve({ name, meshed: true, annotations: {} }),
      observe: () => undefined,
      log: jsonLog("error", (line) => process.stderr.write(line)),
    });
    const labels = { "isthmus.dev/inject": "enabled" };
    await client.create(
      { resource: namespaces },
      { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop", labels } },
    );
    await client.create({ resource: namespaces }, { apiVersion: "v1", kind: "Namespace", metadata: { name: "other" } });
    await client.create({ resource: mutatingWebhooks }, webhookConfiguration(webhook.port, trust.caBundlePem));
    // the API server takes a new webhook into account a moment after it was written
    const injected = async () =>
      initNames(await createPod("shop", aPod("probe"))).includes("isthmus-proxy") || undefined;
    await eventually("the webhook to be called", injected, 30_000);
  }, 120_000);

  afterAll(async () => {
    await webhook?.close();
    await api?.stop();
  });

  function aPod(name: string, spec: JsonObject = {}): JsonObject {
    const containers = [{ name: "app", image: "app:1" }];
    return { apiVersion: "v1", kind: "Pod", metadata: { generateName: `${name}-` }, spec: { containers, ...spec } };
  }

  /** The account is what the admission plugin ServiceAccount sets before any webhook; it is off here, as nobody makes accounts. */
  function createPod(namespace: string, pod: JsonObject): Promise<JsonObject> {
    const spec = { serviceAccountName: "default", ...(fieldOf(pod, "spec") as JsonObject) };
    return client.create({ resource: pods, namespace }, { ...pod, spec });
  }

  function initNames(pod: JsonObject): readonly unknown[] {
    return ((fieldOf(pod, "spec", "initContainers") ?? []) as JsonObject[]).map((container) => container["name"]);
  }

  test.each(readdirSync(testdata))("the patched pod is valid: %s", async (name) => {
    const pod = parse(readFileSync(join(testdata, name, "pod.yaml"), "utf8")) as JsonObject;
    const made = await createPod("shop", pod);
    expect(initNames(made).slice(0, 2)).toEqual(["isthmus-init", "isthmus-proxy"]);
    expect(fieldOf(made, "metadata", "labels", "isthmus.dev/injected")).toBe("true");
  });

  test("a pod of another namespace is not asked about", async () => {
    expect(initNames(await createPod("other", aPod("plain")))).toEqual([]);
  });

  test("a refused pod's author reads why", async () => {
    const refused = createPod("shop", aPod("bad", { securityContext: { runAsUser: 1337 } }));
    await expect(refused).rejects.toThrow(/ISTHMUS_USER_RESERVED: spec.securityContext: the pod runs as user 1337/);
  });
});
