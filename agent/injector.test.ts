import { afterEach, describe, expect, it } from "vitest";
import { noExclusions } from "./inject/settings.ts";
import { someSettings } from "./inject/testing/settings.ts";
import { namespaceFacts, withMeshConfig, type NamespaceSource } from "./injector.ts";
import { aMeshConfig } from "./ir/testing/objects.ts";
import { createClient } from "./kube/client.ts";
import { parseNamespace } from "./kube/parse/namespace.ts";
import { createStore } from "./kube/store.ts";
import { startFakeApi, type FakeApi } from "./kube/testing/fake-api.ts";

const signal = new AbortController().signal;
const shop = { metadata: { name: "shop", uid: "uid-shop", labels: { "isthmus.dev/inject": "enabled" } } };

let api: FakeApi;
let asked: string[] = [];
let end = (): void => undefined;

/** An API server that has these namespaces, and a watch that has shown none. */
async function source(objects: readonly (typeof shop)[]): Promise<NamespaceSource> {
  asked = [];
  api = await startFakeApi((call) => {
    asked.push(`${call.method} ${call.path}`);
    const found = objects.find(({ metadata }) => call.path.endsWith(`/${metadata.name}`));
    if (found === undefined) call.json(404, { kind: "Status", code: 404, reason: "NotFound" });
    else call.json(200, found);
  });
  const client = createClient(api.connection, { requestTimeoutMs: 15_000 });
  end = () => client.close();
  const nothing = () => undefined;
  const namespaces = createStore({ kind: "Namespace", parse: parseNamespace, onChange: nothing, aside: nothing });
  return { client, stores: { namespaces } };
}

afterEach(async () => {
  end();
  await api.close();
});

describe("what the webhook knows of a namespace", () => {
  it("asks the API server for a namespace that the watch has not shown: its first pod must not slip by", async () => {
    const kube = await source([shop]);
    expect(await namespaceFacts(kube, "shop", signal)).toMatchObject({ name: "shop", meshed: true });
    expect(asked).toEqual(["GET /api/v1/namespaces/shop"]);
  });

  it("is nothing when there is no such namespace", async () => {
    expect(await namespaceFacts(await source([]), "gone", signal)).toBeUndefined();
  });
});

describe("what a pod's sidecar does not see", () => {
  const chart = someSettings({ exclusions: { ...noExclusions, outboundPorts: [5432] } });
  const said = (namespace: string) =>
    aMeshConfig({ namespace, exclusions: { ...noExclusions, outboundPorts: [6379], outboundRanges: ["10.0.0.0/8"] } });

  it("is what the chart and OSM's MeshConfig exclude", () => {
    const { exclusions } = withMeshConfig(chart, [said("osm-system")], "isthmus-system");
    expect(exclusions).toEqual({ ...noExclusions, outboundPorts: [5432, 6379], outboundRanges: ["10.0.0.0/8"] });
  });

  it.each([{ configs: undefined }, { configs: [said("shop")] }])(
    "is the chart's without a MeshConfig that counts",
    ({ configs }) => {
      expect(withMeshConfig(chart, configs, "isthmus-system")).toBe(chart);
    },
  );
});
