// Copies of other members' policy on a real API server: made, kept as they are, taken away; nobody's own object is touched.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ClusterName, FleetDomain } from "../../shared/ids.ts";
import type { PolicyRecord } from "../../shared/registry.ts";
import { manifestOf } from "../smi/manifest.ts";
import { aRouteGroup, aTarget, aTcpRoute } from "../ir/testing/objects.ts";
import type { KubeClient } from "./client.ts";
import { fieldOf, type JsonObject } from "./json.ts";
import type { Kube } from "./kube.ts";
import { createPolicyCopiesWriter } from "./policy-copies.ts";
import { policyStore } from "./policy-store.ts";
import * as resources from "./resources.ts";
import { openCluster, write, type OpenedCluster } from "./testing/cluster-state.ts";
import { kubePrograms } from "./testing/real-api-server.ts";
import { until } from "./testing/waiting.ts";
import { writing } from "./testing/writing.ts";

const programs = await kubePrograms();
const { smi } = resources;
type Kind = keyof typeof smi;

describe.skipIf(programs === undefined)("a leading agent", { timeout: 90_000 }, () => {
  let cluster: OpenedCluster | undefined;
  let kube: Kube;
  let client: KubeClient;

  beforeAll(async () => {
    cluster = await openCluster(programs!, { namespaces: ["shop"] });
    ({ kube } = cluster);
    ({ client } = kube);
  }, 120_000);

  afterAll(() => cluster?.close());

  const split = {
    ...{ namespace: "shop", name: "cart", service: "cart", createdAtMs: 0 },
    backends: [{ service: "a", weight: 1 }],
    matches: [{ kind: "HTTPRouteGroup", name: "beta" }],
  };
  const manifests: Readonly<Record<Kind, JsonObject>> = {
    TrafficTarget: manifestOf(
      "TrafficTarget",
      aTarget({ name: "cart", sourceClusters: ["west"], destinationPort: 80 }),
    ),
    HTTPRouteGroup: manifestOf("HTTPRouteGroup", aRouteGroup({ name: "cart" })),
    TCPRoute: manifestOf("TCPRoute", aTcpRoute({ name: "cart" })),
    UDPRoute: manifestOf("UDPRoute", aTcpRoute({ name: "cart", matches: [{ name: "", ports: [53] }] })),
    TrafficSplit: manifestOf("TrafficSplit", split),
  };
  const kinds = Object.keys(manifests) as Kind[];

  function policy(kind: Kind, more: Partial<PolicyRecord> = {}): PolicyRecord {
    const manifest = JSON.stringify(manifests[kind]);
    return {
      kind: "policy",
      cluster: "west",
      policyKind: kind,
      namespace: "shop",
      name: "cart",
      members: ["*"],
      manifest,
      ...more,
    };
  }
  function wish(remote: readonly PolicyRecord[]) {
    const [cluster, fleetDomain] = ["east" as ClusterName, "acme.mesh" as FleetDomain];
    return { cluster, fleetDomain, remote, revokedTrustDomains: [] };
  }
  const at = (kind: Kind, name = "cart", namespace = "shop") => ({ resource: smi[kind][0], namespace, name });
  const held = (kind: Kind, name = "cart") => policyStore(kube.stores, kind).get("shop", name);

  it("puts a copy of every kind here, keeps it and takes it away", async () => {
    const writer = createPolicyCopiesWriter(kube);
    const all = kinds.map((kind) => policy(kind));
    await writing(writer, async () => {
      writer.want(wish(all));
      await until(kube, "a copy of each", () => kinds.every((kind) => held(kind)?.aside.isCopy === true));
      for (const kind of kinds) {
        const copy = await client.get(at(kind));
        expect(fieldOf(copy, "metadata", "labels")).toEqual({
          "isthmus.dev/replicated-from": "west",
          "app.kubernetes.io/managed-by": "isthmus-agent",
        });
        expect(copy["spec"]).toMatchObject(manifests[kind]["spec"] as object);
      }
      const before = held("TrafficSplit")?.resourceVersion;
      writer.want(wish(all));
      // its author changes one, and somebody here another
      const other = JSON.stringify(manifestOf("TrafficSplit", { ...split, matches: [] }));
      await client.mergePatch(at("TCPRoute"), { spec: { matches: { ports: [1] } } });
      await until(kube, "the change here", () => JSON.stringify(held("TCPRoute")?.record).includes("[1]"));
      writer.want(wish([...all.slice(0, -1), policy("TrafficSplit", { manifest: other })]));
      await until(kube, "what its author wants", () => {
        const now = kube.inputs().trafficSplits[0];
        return now?.matches.length === 0 && !JSON.stringify(held("TCPRoute")?.record).includes("[1]");
      });
      expect(held("TrafficSplit")?.resourceVersion).not.toBe(before);
      writer.want(wish([]));
      await until(kube, "none", () => kinds.every((kind) => held(kind) === undefined));
    });
  });

  it("touches nothing that has no label of a copy, and takes the place once it is free", async () => {
    await write(client, smi.HTTPRouteGroup[0], "shop/cart", { spec: { matches: [{ name: "own" }] } });
    await until(kube, "our own", () => held("HTTPRouteGroup") !== undefined);
    const own = held("HTTPRouteGroup");
    const writer = createPolicyCopiesWriter(kube);
    await writing(writer, async () => {
      writer.want(wish([policy("HTTPRouteGroup"), policy("TCPRoute")]));
      await until(kube, "the other copy", () => held("TCPRoute") !== undefined);
      expect(held("HTTPRouteGroup")?.uid).toBe(own?.uid);
      await client.remove(at("HTTPRouteGroup"));
      await until(kube, "the place is free", () => held("HTTPRouteGroup") === undefined);
      writer.want(wish([policy("HTTPRouteGroup"), policy("TCPRoute")]));
      await until(kube, "the copy", () => held("HTTPRouteGroup")?.aside.isCopy === true);
      writer.want(wish([]));
      await until(kube, "none", () => held("HTTPRouteGroup") === undefined && held("TCPRoute") === undefined);
    });
  });

  it("goes on past a copy that the API server does not take, and past a namespace that is not here", async () => {
    const bad = JSON.stringify({ ...manifests.TCPRoute, spec: { matches: { ports: ["many"] } } });
    const writer = createPolicyCopiesWriter(kube);
    await writing(writer, async () => {
      writer.want(
        wish([
          policy("TCPRoute", { name: "a-bad-one", manifest: bad }),
          policy("TCPRoute", { name: "b-no-json", manifest: "{" }),
          policy("TCPRoute", { namespace: "elsewhere" }),
          policy("TCPRoute", { name: "good" }),
        ]),
      );
      await until(kube, "the good one", () => held("TCPRoute", "good") !== undefined);
      expect(held("TCPRoute", "a-bad-one")).toBeUndefined();
      writer.want(wish([]));
      await until(kube, "none", () => held("TCPRoute", "good") === undefined);
    });
  });
});
