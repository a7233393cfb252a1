// What the agent says on SMI objects, and where older versions are converted, against a real API server.
import { rootCertificates } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KubeClient } from "./client.ts";
import { createConversionWriter } from "./conversion-bundle.ts";
import { fieldOf, type JsonObject } from "./json.ts";
import type { Kube } from "./kube.ts";
import { createPolicyConditionWriter } from "./policy-conditions.ts";
import { policyStore } from "./policy-store.ts";
import * as resources from "./resources.ts";
import { buildSplits } from "../ir/splits.ts";
import { without } from "../smi/fields.ts";
import type { SmiKindName } from "../smi/versions.ts";
import { openCluster, write, type OpenedCluster } from "./testing/cluster-state.ts";
import { kubePrograms } from "./testing/real-api-server.ts";
import { eventually } from "../xds/testing/envoy.ts";
import { until } from "./testing/waiting.ts";
import { writing } from "./testing/writing.ts";

const programs = await kubePrograms();
const { smi } = resources;

describe.skipIf(programs === undefined)("an agent that leads", { timeout: 90_000 }, () => {
  let cluster: OpenedCluster | undefined;
  let kube: Kube;
  let client: KubeClient;

  beforeAll(async () => {
    cluster = await openCluster(programs!, { namespaces: ["shop"] });
    ({ kube } = cluster);
    ({ client } = kube);
  }, 120_000);

  afterAll(() => cluster?.close());

  const account = { kind: "ServiceAccount", name: "cart" };
  const target: JsonObject = { spec: { destination: account, sources: [account], rules: [] } };

  async function saysOf(kind: keyof typeof smi, name: string, wanted: readonly string[]): Promise<void> {
    await eventually(`${kind} ${name} ${wanted.join(", ")}`, async () => {
      const object = await client.get({ resource: smi[kind][0], namespace: "shop", name });
      const standing = (fieldOf(object, "status", "conditions") ?? []) as JsonObject[];
      const said = standing.map((condition) => `${String(condition["type"])}=${String(condition["status"])}`);
      return said.join() === wanted.join() || undefined;
    });
  }

  it("says on every kind of SMI object what became of it, and follows it", async () => {
    await write(client, smi.TrafficTarget[0], "shop/good", target);
    await write(client, smi.HTTPRouteGroup[0], "shop/bad", { spec: { matches: [{ name: "a", pathRegex: "(" }] } });
    await write(client, smi.TCPRoute[0], "shop/any", { spec: {} });
    await write(client, smi.UDPRoute[0], "shop/dns", { spec: { matches: { ports: [53] } } });
    const backends = [{ service: "a", weight: 1 }];
    await write(client, smi.TrafficSplit[0], "shop/split", { spec: { service: "cart", backends } });
    const seen = (kind: SmiKindName, name: string) => policyStore(kube.stores, kind).get("shop", name) !== undefined;
    await until(
      kube,
      "all of them",
      () =>
        seen("TrafficTarget", "good") &&
        seen("TCPRoute", "any") &&
        seen("UDPRoute", "dns") &&
        seen("TrafficSplit", "split") &&
        kube.problems().length === 1,
    );
    const writer = createPolicyConditionWriter(kube);
    await writing(writer, async () => {
      writer.want(kube.problems());
      await saysOf("TrafficTarget", "good", ["Accepted=True", "ResolvedRefs=True"]);
      await saysOf("HTTPRouteGroup", "bad", ["Accepted=False"]);
      await saysOf("TCPRoute", "any", ["Accepted=True"]);
      await saysOf("UDPRoute", "dns", ["Accepted=True", "Enforced=False"]);
      await saysOf("TrafficSplit", "split", ["Accepted=True", "ResolvedRefs=True"]);
      const bad = await client.get({ resource: smi.HTTPRouteGroup[0], namespace: "shop", name: "bad" });
      expect(fieldOf(bad, "status", "conditions")).toMatchObject([
        {
          reason: "Invalid",
          message: expect.stringContaining("spec.matches[0].pathRegex is not an RE2 pattern") as string,
        },
      ]);
      await write(client, smi.HTTPRouteGroup[0], "shop/bad", { spec: { matches: [{ name: "a", pathRegex: "/" }] } });
      await until(kube, "mended", () => kube.problems().length === 0);
      const object = { kind: "TrafficTarget", namespace: "shop", name: "good" };
      writer.want([{ code: "ISTHMUS_UDP_NOT_ENFORCED", message: "", object }]);
      await saysOf("HTTPRouteGroup", "bad", ["Accepted=True"]);
      await saysOf("TrafficTarget", "good", ["Accepted=True", "ResolvedRefs=True", "Enforced=False"]);
      writer.want([]);
      await saysOf("TrafficTarget", "good", ["Accepted=True", "ResolvedRefs=True"]);
    });
  });

  it("says on the younger of two splits of a service which one is in force, until that is gone", async () => {
    const backends = [{ service: "a", weight: 1 }];
    for (const name of ["first", "second"]) {
      await write(client, smi.TrafficSplit[0], `shop/${name}`, { spec: { service: "stock", backends } });
    }
    const { trafficSplits } = kube.stores;
    await until(
      kube,
      "both splits",
      () => trafficSplits.get("shop", "first") !== undefined && trafficSplits.get("shop", "second") !== undefined,
    );
    const conflicts = () =>
      buildSplits({ trafficSplits: trafficSplits.records(), httpRouteGroups: [] }, []).problems.filter(
        ({ code }) => code === "ISTHMUS_SPLIT_CONFLICT",
      );
    const writer = createPolicyConditionWriter(kube);
    await writing(writer, async () => {
      writer.want(conflicts());
      await saysOf("TrafficSplit", "first", ["Accepted=True", "ResolvedRefs=True"]);
      await saysOf("TrafficSplit", "second", ["Accepted=False", "ResolvedRefs=True"]);
      const second = await client.get({ resource: smi.TrafficSplit[0], namespace: "shop", name: "second" });
      expect(fieldOf(second, "status", "conditions")).toMatchObject([
        { reason: "Conflicted", message: expect.stringContaining('TrafficSplit "shop/first"') as string },
        { reason: "ResolvedRefs" },
      ]);
      await client.remove({ resource: smi.TrafficSplit[0], namespace: "shop", name: "first" });
      await until(kube, "the first is gone", () => trafficSplits.get("shop", "first") === undefined);
      writer.want(conflicts());
      await saysOf("TrafficSplit", "second", ["Accepted=True", "ResolvedRefs=True"]);
    });
  });

  it("writes a status once, and nothing for a push that changes none", async () => {
    const writes: string[] = [];
    const counting: KubeClient = {
      ...client,
      apply: (at, body, force) => (writes.push(at.name ?? ""), client.apply(at, body, force)),
    };
    const writer = createPolicyConditionWriter({ ...kube, client: counting });
    await writing(writer, async () => {
      for (let round = 0; round < 20; round += 1) writer.want([]);
      await write(client, smi.TrafficTarget[0], "shop/later", target);
      await until(kube, "the later one", () => kube.stores.trafficTargets.get("shop", "later") !== undefined);
      writer.want([]);
      await saysOf("TrafficTarget", "later", ["Accepted=True", "ResolvedRefs=True"]);
    });
    expect(writes).toEqual(["later"]);
  });

  it("asks once for a status that another's CRD does not have, and says the rest", async () => {
    const at = { resource: resources.customResourceDefinitions, name: "udproutes.specs.smi-spec.io" };
    const crd = await client.get(at);
    const versions = fieldOf(crd, "spec", "versions") as JsonObject[];
    const bare = versions.map((version) => without(version, "subresources"));
    await client.replace(at, { ...crd, spec: { ...(crd["spec"] as JsonObject), versions: bare } });
    await write(client, smi.UDPRoute[0], "shop/bare", { spec: {} });
    await until(kube, "the route", () => kube.stores.udpRoutes.get("shop", "bare") !== undefined);
    const object = { resource: smi.UDPRoute[0], namespace: "shop", name: "bare" };
    await eventually("no status any more", () =>
      client.mergePatch({ ...object, subresource: "status" }, {}).then(
        () => undefined,
        () => true,
      ),
    );
    const asked: string[] = [];
    const apply: KubeClient["apply"] = (to, body, force) => (asked.push(to.name ?? ""), client.apply(to, body, force));
    const writer = createPolicyConditionWriter({ ...kube, client: { ...client, apply } });
    await writing(writer, async () => {
      writer.want([]);
      await eventually("the first question", () => Promise.resolve(asked.includes("bare") || undefined));
      await write(client, smi.TrafficTarget[0], "shop/after", target);
      await until(kube, "the target", () => kube.stores.trafficTargets.get("shop", "after") !== undefined);
      writer.want([]);
      await saysOf("TrafficTarget", "after", ["Accepted=True", "ResolvedRefs=True"]);
    });
    expect(asked.filter((name) => name === "bare")).toHaveLength(1);
  });

  it("keeps the authority of its certificate in the CRDs that it converts, and nothing in another's", async () => {
    const at = (name: string) => ({ resource: resources.customResourceDefinitions, name });
    const clientConfig = async (name: string) =>
      fieldOf(await client.get(at(name)), "spec", "conversion", "webhook", "clientConfig");
    const converted = ["traffictargets.access", "httproutegroups.specs", "tcproutes.specs", "trafficsplits.split"];
    const pem = `${rootCertificates[0] ?? ""}\n`; // the API server asks only that it is a certificate
    const caBundle = Buffer.from(pem).toString("base64");
    await client.mergePatch(at("tcproutes.specs.smi-spec.io"), {
      spec: { conversion: { strategy: "None", webhook: null } },
    });
    const writer = createConversionWriter({ ...kube, names: { ...kube.names, system: "mesh" } });
    await writing(writer, async () => {
      writer.want(pem);
      await eventually("the authority in the last of them", async () => {
        const found = await clientConfig("trafficsplits.split.smi-spec.io");
        return fieldOf(found, "caBundle") === caBundle || undefined;
      });
    });
    for (const name of converted) {
      const found = await clientConfig(`${name}.smi-spec.io`);
      if (name === "tcproutes.specs") expect(found).toBeUndefined();
      else
        expect(found).toMatchObject({
          caBundle,
          service: { namespace: "mesh", name: "isthmus-agent", path: "/convert" },
        });
    }
  });
});
