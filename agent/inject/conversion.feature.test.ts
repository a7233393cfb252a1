// Conversion under a real API server: it calls the webhook, believes its certificate, and stores one version of each kind.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../shared/clock.ts";
import { jsonLog } from "../../shared/log.ts";
import { createClient, type KubeClient } from "../kube/client.ts";
import { openConnection } from "../kube/connection.ts";
import { fieldOf, type JsonObject } from "../kube/json.ts";
import { namespaces, type ResourceType } from "../kube/resources.ts";
import { installCrd, installCrds, opened, write } from "../kube/testing/cluster-state.ts";
import { kubePrograms, startApiServer, type RealApiServer } from "../kube/testing/real-api-server.ts";
import { until } from "../kube/testing/waiting.ts";
import { without } from "../smi/fields.ts";
import { smiKinds, storedVersion, type SmiKind, type SmiKindName } from "../smi/versions.ts";
import { eventually } from "../xds/testing/envoy.ts";
import { someSettings } from "./testing/settings.ts";
import { ensureWebhookTrust, type WebhookTrust } from "./webhook-ca.ts";
import { startWebhookServer, type WebhookServer } from "./webhook-server.ts";

const programs = await kubePrograms();

const account = { kind: "ServiceAccount", name: "cart" };
const sources = [{ kind: "ServiceAccount", name: "web", namespace: "shop" }];
const rules = [{ kind: "HTTPRouteGroup", name: "cart", matches: ["read"] }];
const bare = { name: "read", pathRegex: "/items.*", methods: ["GET"] };
const headed = { ...bare, headers: { "x-user": "a.*" } };
const listed = { ...bare, headers: [{ "x-user": "a.*" }, { "x-tenant": "b" }] };
const split = (one: unknown, other: unknown, more: JsonObject = {}) => ({
  spec: {
    service: "cart",
    backends: [
      { service: "a", weight: one },
      { service: "b", weight: other },
    ],
    ...more,
  },
});
const matches = [{ kind: "HTTPRouteGroup", name: "beta", apiGroup: "specs.smi-spec.io" }];

/** One of each kind and version, with what only that version can say. */
const examples: readonly (readonly [SmiKindName, string, JsonObject])[] = [
  ["TrafficTarget", "v1alpha1", { destination: { ...account, port: 8080 }, sources, specs: rules }],
  ["TrafficTarget", "v1alpha2", { spec: { destination: { ...account, port: 8080 }, sources, rules } }],
  [
    "TrafficTarget",
    "v1alpha3",
    { spec: { destination: account, sources, rules: [{ kind: "UDPRoute", name: "dns" }] } },
  ],
  ["HTTPRouteGroup", "v1alpha1", { matches: [bare] }],
  ["HTTPRouteGroup", "v1alpha2", { matches: [listed] }],
  ["HTTPRouteGroup", "v1alpha3", { spec: { matches: [headed, { name: "any" }] } }],
  ["HTTPRouteGroup", "v1alpha4", { spec: { matches: [headed, { ...listed, name: "listed" }] } }],
  ["TCPRoute", "v1alpha1", {}],
  ["TCPRoute", "v1alpha2", {}],
  ["TCPRoute", "v1alpha3", { spec: {} }],
  ["TCPRoute", "v1alpha4", { spec: { matches: { name: "sql", ports: [5432] } } }],
  ["TrafficSplit", "v1alpha1", split("500m", 1)],
  ["TrafficSplit", "v1alpha2", split(90, 10)],
  ["TrafficSplit", "v1alpha3", split(1, 0, { matches })],
  ["TrafficSplit", "v1alpha4", split(0, 1000, { matches })],
];

function resource(kind: SmiKindName, version: string): ResourceType {
  const { group, plural }: SmiKind = smiKinds[kind];
  return { group, version, plural, kind };
}

function bodyOf(object: JsonObject): JsonObject {
  return without(object, "apiVersion", "kind", "metadata");
}

describe.skipIf(programs === undefined)("SMI under a real API server", { timeout: 90_000 }, () => {
  let api: RealApiServer | undefined;
  let webhook: WebhookServer | undefined;
  let trust: WebhookTrust;
  let client: KubeClient;
  let port = 0;

  async function startWebhook(): Promise<void> {
    webhook = await startWebhookServer({
      port,
      host: "127.0.0.1",
      certificate: trust.certificate,
      settings: () => someSettings(),
      namespace: () => Promise.resolve(undefined),
      observe: () => undefined,
      log: jsonLog("error", (line) => process.stderr.write(line)),
    });
    ({ port } = webhook);
  }

  /** By URL, and with the authority that the agent would add: there is no Service without a cluster. */
  function convertedHere(crd: JsonObject): JsonObject {
    const spec = crd["spec"] as JsonObject;
    if (spec["conversion"] === undefined) return crd;
    const clientConfig = {
      url: `https://localhost:${port}/convert`,
      caBundle: Buffer.from(trust.caBundlePem).toString("base64"),
    };
    const webhook = { conversionReviewVersions: ["v1"], clientConfig };
    return { ...crd, spec: { ...spec, conversion: { strategy: "Webhook", webhook } } };
  }

  beforeAll(async () => {
    api = await startApiServer(programs!);
    client = createClient(await openConnection({ kind: "kubeconfig", path: api.kubeconfig() }, systemClock));
    const store = { load: () => Promise.resolve(undefined), save: () => Promise.resolve({ saved: true }) };
    trust = await ensureWebhookTrust({ store, clock: systemClock, serverName: "localhost" });
    await startWebhook();
    for (const name of ["shop", "old", "away"]) await write(client, namespaces, name);
  }, 120_000);

  afterAll(async () => {
    client.close();
    await webhook?.close();
    await api?.stop();
  });

  test("a split that another mesh's CRD stored as v1alpha2 is read by the agent once the CRD is ours", async () => {
    const splits = resource("TrafficSplit", "v1alpha2");
    const schema = { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } };
    await installCrd(client, {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: "trafficsplits.split.smi-spec.io" },
      spec: {
        group: splits.group,
        scope: "Namespaced",
        names: {
          kind: "TrafficSplit",
          plural: "trafficsplits",
          singular: "trafficsplit",
          listKind: "TrafficSplitList",
        },
        versions: [{ name: "v1alpha2", served: true, storage: true, schema }],
      },
    });
    await eventually("the split to be taken", () => write(client, splits, "old/cart", split(90, 10)), 30_000);
    const before = await opened(api!.kubeconfig());
    expect(before.kube.inputs().trafficSplits).toMatchObject([
      { namespace: "old", backends: [{ weight: 90 }, { weight: 10 }] },
    ]);
    await before.close();
    await installCrds(client, convertedHere);
    const read = () => client.get({ resource: resource("TrafficSplit", "v1alpha4"), namespace: "old", name: "cart" });
    expect((await eventually("v1alpha4 to be served", read, 30_000))["spec"]).toEqual(split(90, 10).spec);
    const after = await opened(api!.kubeconfig());
    await until(after.kube, "the split", () => after.kube.inputs().trafficSplits.length === 1);
    expect(after.kube.served("TrafficSplit")).toMatchObject({ version: "v1alpha4" });
    await after.close();
  });

  test.each(examples)(
    "a %s written as %s is read, and written again, in every version",
    async (kind, version, body) => {
      const name = `${kind.toLowerCase()}-${version}`;
      await write(client, resource(kind, version), `shop/${name}`, body);
      const at = (wanted: string) => ({ resource: resource(kind, wanted), namespace: "shop", name });
      for (const other of smiKinds[kind].versions) {
        const seen = await client.get(at(other));
        expect(seen["apiVersion"]).toBe(`${smiKinds[kind].group}/${other}`);
        await client.replace(at(other), seen);
        expect(bodyOf(await client.get(at(version)))).toEqual(body);
      }
    },
  );

  test("a field that a version does not have is still refused", async () => {
    const spec = { ...split(1, 1).spec, backends: [{ service: "a", weight: "ten" }] };
    const refused = write(client, resource("TrafficSplit", "v1alpha1"), "shop/bad", { spec });
    await expect(refused).rejects.toThrow(/weight/);
  });

  test("with no agent there is nothing lost: what is stored is served, older versions wait", async () => {
    const stored = (kind: SmiKindName) => resource(kind, storedVersion(kind));
    const oldest = resource("TrafficSplit", "v1alpha1");
    await write(client, oldest, "away/before", split("500m", "500m"));
    await webhook?.close();
    // the API server may still hold a connection, but a new one finds nobody
    const refused = async () =>
      await write(client, oldest, "away/meanwhile", split("1", "3")).then(
        () => undefined,
        (error: unknown) => (error instanceof Error ? error.message : undefined),
      );
    expect(await eventually("an older version to be refused", refused, 30_000)).toContain("conversion webhook");
    await write(client, stored("TrafficSplit"), "away/newest", split(1, 3));
    const without = await opened(api!.kubeconfig());
    const seen = without.kube.inputs().trafficSplits.filter(({ namespace }) => namespace === "away");
    expect(seen.map(({ name }) => name).sort()).toEqual(["before", "newest"]);
    await without.close();
    await startWebhook();
    const read = () => client.get({ resource: oldest, namespace: "away", name: "before" });
    expect(fieldOf(await eventually("older versions to be served", read, 30_000), "spec")).toEqual(
      split("500m", "500m").spec,
    );
  });
});
