// What is counted of a request, read from real Envoys: who called, who answered, who refused and who did not answer, by exact names.
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { eventually, findEnvoy, skipReason } from "./testing/envoy.ts";
import { networkMissing } from "./testing/network.ts";
import { requestSeries } from "./testing/request-series.ts";
import { openWorld, type Member, type World } from "./testing/world.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const cartV1 = `workloadName: cart-v1, podName: cart-v1-0`;

function front(settings = ""): string {
  return `
${settings}
proxy: { kind: sidecar, namespace: shop, serviceAccount: front, workloadKind: Deployment, workloadName: front-end, inbound: [] }
services:
  - { name: cart, vips: [10.96.0.10], ports: [{ port: 80, local: [{ address: 10.1.0.2, ${cartV1} }] }] }
  - name: far
    scope: fleet
    vips: [10.96.0.30]
    ports: [{ port: 80, identities: [west/shop/cart], remote: [{ cluster: west, gateways: [{ host: 10.1.0.3, port: 15443 }] }] }]
  - name: gone
    scope: fleet
    vips: [10.96.0.31]
    ports: [{ port: 80, identities: [west/shop/cart], remote: [{ cluster: west, gateways: [{ host: 10.1.0.3, port: 15444 }] }] }]
  - { name: broken, vips: [10.96.0.50], ports: [{ port: 80, local: [{ address: 10.1.0.5, workloadName: broken-v1 }] }] }
  - { name: empty, vips: [10.96.0.51], ports: [{ port: 80 }] }
  - { name: secret, vips: [10.96.0.40], ports: [{ port: 80, local: [{ address: 10.1.0.2, serviceAccount: secret, workloadName: secret-v1 }] }] }
grants: [{ name: front-to-cart, from: [east/shop/front], to: shop/cart }]
`;
}

function cart(cluster: string): string {
  return `
cluster: ${cluster}
proxy: { kind: sidecar, namespace: shop, serviceAccount: cart, workloadKind: Deployment, workloadName: cart-v1, inbound: [{ port: 8080, protocol: http }] }
grants: [{ name: front-to-cart, from: [east/shop/front], to: shop/cart, http: [{ pathRegex: /items }, { pathRegex: /forge }] }]
`;
}

const gateway = `
cluster: west
proxy: { kind: gateway }
peers: [east]
exportPorts: [{ service: far, port: 80, endpoints: [{ address: 10.1.0.4 }] }]
`;

const source = {
  source_namespace: "shop",
  source_kind: "Deployment",
  source_name: "front-app",
  source_pod: "front-app-0",
  source_cluster: "east",
};

/** `text` is `cluster service kind name pod`. */
function to(text: string): Readonly<Record<string, string>> {
  const [cluster = "", service = "", kind = "", name = "", pod = ""] = text.split(" ");
  return {
    destination_namespace: "shop",
    destination_kind: kind,
    destination_name: name,
    destination_pod: pod,
    destination_cluster: cluster,
    destination_service: service,
  };
}

const found = findEnvoy();
const reason = "missing" in found ? found.missing : skipReason(networkMissing());
let world: World;

async function counted(member: Member, metric?: string) {
  const { text } = await member.curl("http://127.0.0.1:15000/stats/prometheus");
  return requestSeries(text, metric);
}

/** What `calls` added, series by series, once as many were counted. */
async function added(count: number, calls: () => Promise<unknown>) {
  const before = await counted(world.front);
  await calls();
  return eventually(`${count} requests are counted`, async () => {
    const now = await counted(world.front);
    const more = now
      .map(({ labels, value }) => {
        const known = before.find((one) => JSON.stringify(one.labels) === JSON.stringify(labels));
        return { labels, more: value - (known?.value ?? 0) };
      })
      .filter((series) => series.more > 0);
    return more.reduce((sum, series) => sum + series.more, 0) >= count ? more : undefined;
  });
}

describe.skipIf(reason !== undefined)("requests, as the caller's Envoy counts them", () => {
  beforeAll(async () => {
    if (!("path" in found)) return;
    world = await openWorld(found.path);
    const { front: caller, cartEast, cartWest, gatewayWest } = world;
    caller.configure(front());
    cartEast.configure(cart("east"));
    cartWest.configure(cart("west"));
    gatewayWest.configure(gateway);
    await Promise.all([
      ...[caller, cartEast, cartWest, gatewayWest].map((member) => member.startProxy()),
      cartEast.startApplication("east"),
      cartWest.startApplication("west"),
    ]);
  });

  afterAll(async () => {
    await (world as World | undefined)?.stop();
  });

  it.each([
    ["a call within the cluster", "10.96.0.10/items", "200", to("east cart Deployment cart-v1 cart-app-0")],
    ["a call to another cluster", "10.96.0.30/items", "200", to("west far Deployment cart-app cart-app-0")],
    ["a call that the server refuses", "10.96.0.10/admin", "403", to("east cart Deployment cart-v1 cart-app-0")],
    ["a call that another cluster refuses", "10.96.0.30/admin", "403", to("west far Deployment cart-app cart-app-0")],
    ["a call to a pod that takes no connection", "10.96.0.50/", "503", to("east broken Deployment broken-v1 unknown")],
    ["a call to a member that takes no connection", "10.96.0.31/", "503", to("west gone Service gone unknown")],
    ["a call to a service without pods", "10.96.0.51/", "503", to("east empty Service empty unknown")],
    [
      "a call that the caller's own sidecar refuses",
      "10.96.0.40/",
      "403",
      to("east secret Deployment secret-v1 unknown"),
    ],
    [
      "a call to a port that the service does not have",
      "10.96.0.10:81/",
      "403",
      to("east cart Deployment cart-v1 unknown"),
    ],
  ])("%s", async (_what, url, code, destination) => {
    const series = await added(1, () => world.front.answered(`http://${url}`));
    expect(series).toEqual([{ labels: { ...source, ...destination, response_code: code }, more: 1 }]);
  });

  const grpc = ["--http2-prior-knowledge", "-X", "POST", "-H", "content-type: application/grpc", "-H", "te: trailers"];
  it.each([
    ["that the server refuses", "10.96.0.10/admin", "7", to("east cart Deployment cart-v1 cart-app-0")],
    ["that the caller's own sidecar refuses", "10.96.0.40/", "7", to("east secret Deployment secret-v1 unknown")],
    ["to a pod that takes no connection", "10.96.0.50/", "14", to("east broken Deployment broken-v1 unknown")],
  ])("a gRPC call %s, by its status", async (_what, url, status, destination) => {
    const series = await added(1, () => world.front.answered(`http://${url}`, ...grpc));
    const code = { response_code: "200", grpc_status: status };
    expect(series).toEqual([{ labels: { ...source, ...destination, ...code }, more: 1 }]);
  });

  it("durations are in milliseconds, without the response code", async () => {
    const labels = Object.keys({ ...source, ...to("    ") });
    const series = await counted(world.front, "osm_request_duration_ms_count");
    expect(series.length).toBeGreaterThan(0);
    for (const one of series) expect(Object.keys(one.labels).sort()).toEqual(labels.sort());
    const buckets = await counted(world.front, "osm_request_duration_ms_bucket");
    expect(buckets.map(({ labels: { le } }) => le)).toEqual(expect.arrayContaining(["1", "100", "1000"]));
  });

  it("neither application sees the headers by which a server says who it is, nor can it forge them", async () => {
    const forged = ["namespace", "kind", "name", "pod"].flatMap((part) => ["-H", `osm-stats-${part}: forged`]);
    const series = await added(2, async () => {
      const seen = await world.front.answered("http://10.96.0.30/items", "-i", ...forged);
      expect(seen.text).toContain("HTTP/1.1 200");
      expect(seen.text).not.toContain("osm-stats");
      const answer = await world.front.answered("http://10.96.0.30/forge", "-i");
      expect(answer.text).toContain("HTTP/1.1 503");
      expect(answer.text).not.toContain("osm-stats");
    });
    expect(JSON.stringify(series)).not.toContain("forged");
    expect(series.map(({ labels }) => labels["response_code"]).sort()).toEqual(["200", "503"]);
  });

  it("without the pod label there is one series for all pods", async () => {
    world.front.configure(front("settings: { podLabel: false }"));
    try {
      await eventually("a request is counted without pods", async () => {
        await world.front.curl("http://10.96.0.10/items");
        return (await counted(world.front)).some(({ labels }) => !("destination_pod" in labels)) || undefined;
      });
      const without = (await counted(world.front)).filter(({ labels }) => !("destination_pod" in labels));
      expect(without.map(({ labels }) => Object.keys(labels).filter((label) => label.endsWith("_pod")))).toEqual([[]]);
    } finally {
      world.front.configure(front());
    }
  });
});
