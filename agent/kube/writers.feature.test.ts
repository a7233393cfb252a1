// The writers against a real API server: what each makes and keeps. Those of services are in multicluster-writers, those of policy in
// policy-conditions and policy-copies.
import { createHash } from "node:crypto";
import { rootCertificates } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../shared/clock.ts";
import type { ClusterName, FleetDomain } from "../../shared/ids.ts";
import { buildModes } from "../ir/modes.ts";
import type { KubeClient } from "./client.ts";
import { createMembershipWriter } from "./membership-config-map.ts";
import { fieldOf, stringOf, type JsonObject } from "./json.ts";
import type { Kube } from "./kube.ts";
import { createEventWriter } from "./object-events.ts";
import { openRegistryCopy } from "./registry-copy.ts";
import * as resources from "./resources.ts";
import { secretIdentityStore, secretStore } from "./secret-store.ts";
import { object, openCluster, write, type OpenedCluster } from "./testing/cluster-state.ts";
import { kubePrograms } from "./testing/real-api-server.ts";
import { read, until } from "./testing/waiting.ts";
import { writing } from "./testing/writing.ts";
import { createTokenReview } from "./token-review.ts";
import { createTrustWriter, ensureTrust } from "./trust-config-maps.ts";
import { createWebhookWriter } from "./webhook-bundle.ts";

const programs = await kubePrograms();
const { namespaces, trafficTargets, configMaps, events, pods } = resources;

let cluster: OpenedCluster | undefined;
let kube: Kube;
let client: KubeClient;

async function namespace(name: string, labels: JsonObject = {}): Promise<void> {
  await write(client, namespaces, name, { metadata: { labels } });
  await until(kube, `namespace ${name}`, () => kube.stores.namespaces.get("", name) !== undefined);
}

describe.skipIf(programs === undefined)("what the agent writes", { timeout: 90_000 }, () => {
  beforeAll(async () => {
    cluster = await openCluster(programs!, { namespaces: ["isthmus-system"] });
    ({ kube } = cluster);
    ({ client } = kube);
  }, 120_000);

  afterAll(() => cluster?.close());

  it("tells an invalid TrafficTarget its mistake once, by an Event, and leaves the valid one in force", async () => {
    await namespace("smi");
    const target = (source: string) => ({
      spec: {
        destination: { kind: "ServiceAccount", name: "cart", namespace: "smi" },
        sources: [{ kind: source, name: "web" }],
        rules: [{ kind: "TCPRoute", name: "all" }],
      },
    });
    await write(client, trafficTargets, "smi/good", target("ServiceAccount"));
    await write(client, trafficTargets, "smi/bad", target("User"));
    await until(
      kube,
      "both",
      () =>
        kube.problems().some(({ object }) => object?.name === "bad") &&
        kube.inputs().trafficTargets.some(({ name }) => name === "good"),
    );
    expect(kube.inputs().trafficTargets.map(({ name }) => name)).not.toContain("bad");
    const inSmi = { resource: events, namespace: "smi" };
    const list = async () => (await client.listPage(inSmi, { limit: 0, next: "" }, AbortSignal.timeout(30_000))).items;
    const writer = createEventWriter(kube);
    await writing(writer, async () => {
      writer.want(kube.problems());
      const [event] = await read(list, (items) => items.length === 1);
      expect(event).toMatchObject({
        type: "Warning",
        reason: "ObjectField",
        count: 1,
        involvedObject: { kind: "TrafficTarget", name: "bad" },
      });
      expect(stringOf(fieldOf(event, "message"))).toContain("spec.sources[0].kind must be ServiceAccount");
      writer.want([...kube.problems()]);
      await write(client, trafficTargets, "smi/worse", target("Group"));
      await until(kube, "another", () => kube.problems().some(({ object }) => object?.name === "worse"));
      writer.want(kube.problems());
      const later = await read(list, (items) => items.length === 2);
      expect(later.map((item) => fieldOf(item, "count"))).toEqual([1, 1]);
    });
    await writing(createEventWriter(kube), async () => Promise.resolve()); // a new leader without a wish says nothing
    // a new leader with the same wish refreshes the Events that stand, and makes no second ones
    const startMs = Date.now();
    const successor = createEventWriter({ ...kube, clock: { ...kube.clock, now: () => startMs + 60_000 } });
    await writing(successor, async () => {
      successor.want(kube.problems());
      const isFresh = (item: unknown) => Date.parse(stringOf(fieldOf(item, "lastTimestamp"))) > startMs + 30_000;
      expect(await read(list, (items) => items.every(isFresh))).toHaveLength(2);
    });
  });

  it("tells a Namespace its mistake in the namespace default, where Events of what has no namespace are", async () => {
    await write(client, namespaces, "undecided", { metadata: { annotations: { "isthmus.dev/permissive": "maybe" } } });
    await until(kube, "the namespace", () => kube.inputs().namespaceModes?.length === 1);
    const at = { resource: events, namespace: "default" };
    const list = async () => (await client.listPage(at, { limit: 0, next: "" }, AbortSignal.timeout(30_000))).items;
    const isTold = (item: unknown) => stringOf(fieldOf(item, "involvedObject", "name")) === "undecided";
    const writer = createEventWriter(kube);
    await writing(writer, async () => {
      writer.want(buildModes({ permissive: false, ...kube.inputs() }).problems);
      const items = await read(list, (all) => all.some(isTold));
      expect(items.find(isTold)).toMatchObject({ reason: "Permissive", involvedObject: { kind: "Namespace" } });
    });
  });

  it("keeps the roots in mesh namespaces and its own, and repairs them", async () => {
    await namespace("meshed", { "isthmus.dev/inject": "enabled" });
    await namespace("plain");
    const writer = createTrustWriter(kube);
    const roots = (name: string) => kube.stores.trust.get(name, "isthmus-trust")?.record?.rootsPem;
    await writing(writer, async () => {
      writer.want("ROOTS-1");
      await until(kube, "both", () => roots("meshed") === "ROOTS-1" && roots("isthmus-system") === "ROOTS-1");
      await write(client, configMaps, "meshed/isthmus-trust", { data: { "roots.pem": "FOREIGN" } });
      await until(kube, "tampered", () => roots("meshed") === "FOREIGN");
      writer.want("ROOTS-1");
      await until(kube, "repaired", () => roots("meshed") === "ROOTS-1");
    });
    expect(roots("plain")).toBeUndefined();
  });

  it("writes with what a gateway starts, and then wakes each gateway that waits for it, once", async () => {
    const account = { group: "", version: "v1", plural: "serviceaccounts", kind: "ServiceAccount" };
    await write(client, account, "isthmus-system/isthmus-gateway");
    const spec = { serviceAccountName: "isthmus-gateway", containers: [{ name: "envoy", image: "envoy" }] };
    const at = (name: string) => ({ resource: pods, namespace: "isthmus-system", name });
    const create = async (name: string) => {
      await client.create(
        { resource: pods, namespace: "isthmus-system" },
        object(pods, "isthmus-system", name, { spec }),
      );
      await until(kube, name, () => kube.stores.pods.get("isthmus-system", name) !== undefined);
    };
    const annotated = async (name: string) =>
      fieldOf(await client.get(at(name)), "metadata", "annotations", "isthmus.dev/member-of") === "east.acme.mesh";
    let patches = 0;
    const counting: KubeClient = { ...client, mergePatch: (...given) => ((patches += 1), client.mergePatch(...given)) };
    const writer = createMembershipWriter({ ...kube, client: counting });
    const east = { cluster: "east" as ClusterName, fleetDomain: "acme.mesh" as FleetDomain };
    await ensureTrust(kube, "isthmus-system", "ROOTS");
    await create("gateway-0");
    await writing(writer, async () => {
      writer.want(east);
      await read(() => annotated("gateway-0"), Boolean);
      const files = fieldOf(await client.get({ ...at("isthmus-membership"), resource: configMaps }), "data");
      expect(Object.keys(files as object)).toContain("envoy.json");
      await create("gateway-1");
      writer.want(east);
      await read(() => annotated("gateway-1"), Boolean);
    });
    expect(patches).toBe(2);
  });

  it("puts the webhook's authority in place and restores it", async () => {
    const webhook = (caBundle?: string) => ({
      webhooks: [
        {
          name: "inject.isthmus.dev",
          admissionReviewVersions: ["v1"],
          sideEffects: "None",
          namespaceSelector: { matchLabels: { never: "matches" } },
          clientConfig: {
            service: { namespace: "isthmus-system", name: "isthmus-agent", path: "/inject" },
            ...(caBundle !== undefined && { caBundle }),
          },
        },
      ],
    });
    // created, not applied: as Helm's, its fields belong to another manager
    const at = { resource: resources.mutatingWebhooks };
    await client.create(at, object(resources.mutatingWebhooks, "", "isthmus-agent", webhook()));
    const bundle = () => kube.stores.webhook.get("", "isthmus-agent")?.record?.webhooks[0]?.caBundle;
    await until(kube, "the webhook", () => bundle() !== undefined);
    const writer = createWebhookWriter(kube);
    await writing(writer, async () => {
      const pem = `${rootCertificates[0] ?? ""}\n`; // the API server asks only that it is a certificate
      writer.want(pem);
      const right = Buffer.from(pem).toString("base64");
      await until(kube, "the bundle", () => bundle() === right);
      const [other = ""] = rootCertificates.slice(1);
      await client.mergePatch({ ...at, name: "isthmus-agent" }, webhook(Buffer.from(other).toString("base64")));
      await until(kube, "somebody else's", () => bundle() !== right);
      writer.want(pem);
      await until(kube, "restored", () => bundle() === right);
    });
  });

  it("keeps the identity in a Secret that two replicas share without overwriting each other", async () => {
    const at = { namespace: "isthmus-system", name: "isthmus-cluster-ca" };
    const [one, two] = [
      secretIdentityStore(secretStore(client, at), at),
      secretIdentityStore(secretStore(client, at), at),
    ];
    expect(await one.load()).toBeUndefined();
    expect(await two.load()).toBeUndefined();
    const state = (tokenId: string) => ({ stage: "joining" as const, tokenId, agentKeyPem: "A", clusterCaKeyPem: "C" });
    await one.save(state("first"));
    await expect(two.save(state("second"))).rejects.toThrow("changed by somebody else");
    expect(await two.load()).toEqual(state("first"));
    await two.save(state("third"));
    await expect(one.save(state("fourth"))).rejects.toMatchObject({ code: "ISTHMUS_IDENTITY_CONFLICT" });
  });

  it("keeps the last good registry in pieces, and no half of one", async () => {
    const options = { client, namespace: "isthmus-system", chunkBytes: 700 };
    const copy = openRegistryCopy(options);
    expect(await copy.load()).toBeUndefined();
    // does not compress: so that it takes several pieces
    const content = (seed: number) =>
      Buffer.concat(
        Array.from({ length: 100 }, (_, index) => createHash("sha256").update(`${seed} ${index}`).digest()),
      );
    await copy.save(content(1));
    expect([...((await openRegistryCopy(options).load()) ?? [])]).toEqual([...content(1)]);
    await copy.save(content(2));
    expect([...((await openRegistryCopy(options).load()) ?? [])]).toEqual([...content(2)]);
    const names = await client.listPage(
      { resource: configMaps, namespace: "isthmus-system" },
      { limit: 0, next: "" },
      AbortSignal.timeout(30_000),
    );
    const pieces = names.items
      .map((item) => stringOf(fieldOf(item, "metadata", "name")))
      .filter((name) => name.startsWith("isthmus-registry-"));
    expect(pieces.length).toBeGreaterThan(1);
    await client.remove({ resource: configMaps, namespace: "isthmus-system", name: pieces.at(-1)! });
    expect(await openRegistryCopy(options).load()).toBeUndefined();
  });

  it("asks who sent a token, once for reconnects within seconds, and refuses one for another audience", async () => {
    await namespace("tokens");
    const account = {
      resource: { group: "", version: "v1", plural: "serviceaccounts", kind: "ServiceAccount" },
      namespace: "tokens",
      name: "cart",
    };
    await write(client, account.resource, "tokens/cart");
    const tokenFor = async (audience: string) => {
      const request = {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: { audiences: [audience], expirationSeconds: 3600 },
      };
      return stringOf(fieldOf(await client.create({ ...account, subresource: "token" }, request), "status", "token"));
    };
    let reviews = 0;
    const counting: KubeClient = { ...client, create: (at, body) => ((reviews += 1), client.create(at, body)) };
    const review = createTokenReview({ client: counting, clock: systemClock });
    const token = await tokenFor("isthmus");
    const [first, again] = await Promise.all([review(token), review(token)]);
    expect(first).toMatchObject({ ok: true, value: { namespace: "tokens", serviceAccount: "cart", podName: "" } });
    expect(first.ok && first.value.expiresAtMs - Date.now()).toBeGreaterThan(3_000_000);
    expect(again).toBe(first);
    expect(reviews).toBe(1);
    expect(await review(await tokenFor("https://kubernetes.default.svc"))).toMatchObject({ ok: false });
    expect(await review("not-a-token")).toMatchObject({ ok: false, error: [{ code: "ISTHMUS_TOKEN_REFUSED" }] });
  });
});
