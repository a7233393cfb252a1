import { describe, expect, it } from "vitest";
import { answer, ObjectsRefused } from "./answer.ts";
import { quantity } from "./items.ts";
import { PrometheusError } from "./prometheus.ts";
import { split, standIn } from "./testing/stand-in.ts";

const signal = new AbortController().signal;
const at = (rest: string) => new URL(`https://agent/apis/metrics.smi-spec.io/v1alpha1${rest}`);

function sample(value: number, labels: Readonly<Record<string, string>>) {
  return { value, labels };
}

const cart = { destination_namespace: "shop", destination_name: "cart-v1" };

describe("TrafficMetrics", () => {
  it("of one object are what reached it in 30 s, latencies in milliseconds", async () => {
    const deps = standIn({
      p99_response_latency: [sample(12.3456, cart)],
      p50_response_latency: [sample(5, cart)],
      success_count: [sample(99.7, cart)],
      failure_count: [sample(1, { ...cart, destination_name: "another" })],
    });
    const { status, body } = await answer(at("/namespaces/shop/deployments/cart-v1"), deps, signal);
    expect(status).toBe(200);
    expect(body).toEqual({
      kind: "TrafficMetrics",
      apiVersion: "metrics.smi-spec.io/v1alpha1",
      metadata: { namespace: "shop", name: "cart-v1", creationTimestamp: "2026-01-02T03:04:05.000Z" },
      resource: { kind: "Deployment", namespace: "shop", name: "cart-v1" },
      edge: { direction: "from", side: "client", resource: null },
      timestamp: "2026-01-02T03:04:05.000Z",
      window: "30s",
      metrics: [
        { name: "p99_response_latency", unit: "ms", value: "12346m" },
        { name: "p90_response_latency", unit: "ms", value: "0" },
        { name: "p50_response_latency", unit: "ms", value: "5" },
        { name: "success_count", value: "100" },
        { name: "failure_count", value: "0" },
      ],
    });
  });

  it("are asked of this member's own objects only, and of the whole name", async () => {
    const deps = standIn({});
    await answer(at("/namespaces/shop/deployments/cart-v1"), deps, signal);
    expect(deps.asked).toHaveLength(5);
    for (const query of deps.asked) {
      expect(query).toContain('destination_cluster="east",destination_kind="Deployment"');
      expect(query).toContain('destination_namespace="shop",destination_name="cart-v1"');
      expect(query).toContain("[30s]");
    }
  });

  it("of a list are one item for each object, also for one that nobody called; a label selector chooses items", async () => {
    const deps = standIn({ success_count: [sample(3, cart)] });
    const all = (await answer(at("/namespaces/shop/deployments"), deps, signal)).body;
    expect(all).toMatchObject({
      kind: "TrafficMetricsList",
      resource: { kind: "Deployment", namespace: "shop" },
      items: [{ resource: { name: "cart-v1" } }, { resource: { name: "front-end" } }],
    });
    const some = (await answer(at("/namespaces/shop/deployments?labelSelector=app%3Dfront"), deps, signal)).body;
    expect(some).toMatchObject({ items: [{ resource: { name: "front-end" } }] });
  });

  it("of a split are one item for each backend, whichever member answered", async () => {
    const backend = (service: string) => ({ destination_namespace: "shop", destination_service: service });
    const deps = standIn({ success_count: [sample(90, backend("cart-primary")), sample(9, backend("cart-canary"))] });
    const { body } = await answer(at("/namespaces/shop/trafficsplits/cart"), deps, signal);
    expect(body).toMatchObject({
      kind: "TrafficMetricsList",
      items: [
        { resource: { kind: "TrafficSplit" }, backend: { apex: "cart", name: "cart-primary", weight: 90 } },
        { resource: { kind: "TrafficSplit" }, backend: { apex: "cart", name: "cart-canary", weight: 10 } },
      ],
    });
    expect(JSON.stringify(body)).toContain('{"name":"success_count","value":"9"}');
    for (const query of deps.asked) {
      expect(query).toContain('destination_service=~"cart-canary|cart-primary"');
      expect(query).not.toContain("destination_cluster=");
    }
  });

  it("of a split whose backends have one name, here and imported, are one item: no sum is claimed twice", async () => {
    const labels = { destination_namespace: "shop", destination_service: "cart-v2" };
    const backends = [
      { service: "cart-v2", weight: 20 },
      { service: "cart-v1", weight: 70 },
      { service: "cart-v2.shop.svc.clusterset.local", weight: 9 },
      { service: "Cart-V2.shop", weight: 1 },
    ];
    const answered = standIn({ success_count: [sample(30, labels)] });
    const deps = { ...answered, splits: () => Promise.resolve([{ ...split, backends }]) };
    const { body } = await answer(at("/namespaces/shop/trafficsplits/cart"), deps, signal);
    const { items } = body as { items: { backend: object; metrics: object[] }[] };
    expect(items.map(({ backend }) => backend)).toEqual([
      { apex: "cart", name: "cart-v2", weight: 30 },
      { apex: "cart", name: "cart-v1", weight: 70 },
    ]);
    const counted = items.map(({ metrics }) => metrics.find((one) => "name" in one && one.name === "success_count"));
    expect(counted).toMatchObject([{ value: "30" }, { value: "0" }]);
    for (const query of deps.asked) expect(query).toContain('destination_service=~"cart-v1|cart-v2"');
  });

  it("of edges name the other end, and its cluster where that is another one", async () => {
    const from = {
      source_cluster: "east",
      source_namespace: "shop",
      source_kind: "Deployment",
      source_name: "front-end",
    };
    const into = { destination_cluster: "east", destination_namespace: "shop", destination_kind: "Deployment" };
    const abroad = { destination_cluster: "west", destination_namespace: "bank", destination_kind: "Deployment" };
    const deps = standIn({
      success_count: [
        sample(5, { ...from, ...into, destination_name: "cart-v1" }),
        sample(2, { ...from, ...abroad, destination_name: "ledger" }),
      ],
    });
    const { body } = await answer(at("/namespaces/shop/deployments/front-end/edges"), deps, signal);
    expect(body).toMatchObject({
      items: [
        {
          edge: {
            direction: "to",
            side: "client",
            resource: { kind: "Deployment", namespace: "shop", name: "cart-v1" },
          },
        },
        { edge: { direction: "to", resource: { cluster: "west", namespace: "bank", name: "ledger" } } },
      ],
    });
    const reached = (await answer(at("/namespaces/shop/deployments/cart-v1/edges"), deps, signal)).body;
    expect(reached).toMatchObject({
      items: [{ edge: { direction: "from", resource: { kind: "Deployment", namespace: "shop", name: "front-end" } } }],
    });
  });

  it("of a node are those of its pods, and of a ReplicaSet those of its own", async () => {
    const deps = standIn({ success_count: [sample(12, {})], p90_response_latency: [sample(7, {})] });
    const { body } = await answer(at("/nodes/one"), deps, signal);
    expect(body).toMatchObject({ kind: "TrafficMetrics", resource: { kind: "Node", name: "one" } });
    expect(JSON.stringify(body)).toContain('{"name":"success_count","value":"12"}');
    for (const query of deps.asked) {
      expect(query).toContain('destination_namespace="shop",destination_pod=~"c-0|db\\\\.0"');
      expect(query).toContain('destination_namespace="bank",destination_pod=~"db\\\\.0"');
    }
    const more = standIn({});
    await answer(at("/namespaces/shop/replicasets/cart-v1-5d9c"), more, signal);
    expect(more.asked).toHaveLength(5);
    for (const query of more.asked) expect(query).toContain('destination_pod=~"c-0"');
  });

  it("of a list of nodes have one item for each, also for one without pods, of which nothing is asked", async () => {
    const deps = standIn({ success_count: [sample(12, {})] });
    const { body } = await answer(at("/nodes"), deps, signal);
    expect(body).toMatchObject({
      kind: "TrafficMetricsList",
      items: [{ resource: { name: "one" } }, { resource: { name: "empty" } }],
    });
    expect(deps.asked).toHaveLength(5);
    expect(JSON.stringify((body as { items: object[] }).items[1])).toContain('{"name":"success_count","value":"0"}');
  });

  it("by pod are not there where requests are not counted so", async () => {
    const reply = await answer(at("/nodes/one"), { ...standIn({}), podLabel: false }, signal);
    expect(reply).toMatchObject({ status: 404, body: { reason: "NotFound" } });
  });

  it.each([
    ["/namespaces/shop/deployments/nobody", 404, "not found"],
    ["/namespaces/shop/trafficsplits/nobody", 404, "not found"],
    ["/namespaces/shop/trafficsplits/cart/edges", 404, "edges of its Services"],
    ["/namespaces/shop/nodes/n", 404, "nodes are in no namespace"],
    ["/namespaces/shop/cronjobs/n", 404, "see the resources"],
    ["/namespaces/%E0%A4%A/pods", 400, "UTF-8"],
  ])("of %s are a Status of %i that says why", async (rest, status, message) => {
    const reply = await answer(at(rest), standIn({}), signal);
    expect(reply).toMatchObject({ status, body: { kind: "Status", status: "Failure", code: status } });
    expect(JSON.stringify(reply.body)).toContain(message);
  });

  it("are a 503 with its code while Prometheus is away, and what to look at", async () => {
    const away = { query: () => Promise.reject(new PrometheusError("http://prom:9090 does not answer: ECONNREFUSED")) };
    const reply = await answer(
      at("/namespaces/shop/deployments/cart-v1"),
      { ...standIn({}), prometheus: away },
      signal,
    );
    expect(reply).toMatchObject({
      status: 503,
      body: { reason: "ServiceUnavailable", details: { causes: [{ reason: "ISTHMUS_PROMETHEUS" }] } },
    });
    expect(JSON.stringify(reply.body)).toMatch(/ECONNREFUSED.*metrics\.prometheusUrl.*docs\/metrics\.md/);
  });

  it("are what the API server says of a selector that it cannot read", async () => {
    const refuse = () => Promise.reject(new ObjectsRefused(400, "unable to parse requirement", undefined));
    const reply = await answer(
      at("/namespaces/shop/pods?labelSelector=%3D"),
      { ...standIn({}), objects: refuse },
      signal,
    );
    expect(reply).toMatchObject({
      status: 400,
      body: { reason: "BadRequest", message: "unable to parse requirement" },
    });
  });
});

it.each([
  [0, "0"],
  [12, "12"],
  [0.0123, "12m"],
  [1234.5678, "1234568m"],
  [Number.NaN, "0"],
])("%d is the Quantity %s", (value, text) => {
  expect(quantity(value)).toBe(text);
});
