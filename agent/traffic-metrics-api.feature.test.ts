// TrafficMetrics through a real API server: discovery, its aggregator's certificate, our caBundle, its selectors. What the Prometheus
// answers is made up here; traffic-metrics/prometheus.feature.test.ts asks a real one.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { get } from "node:https";
import type { AddressInfo } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../shared/clock.ts";
import type { ClusterName } from "../shared/ids.ts";
import { jsonLog } from "../shared/log.ts";
import { ownGround } from "../shared/testing/ground.ts";
import { createClient, type KubeClient } from "./kube/client.ts";
import { openConnection } from "./kube/connection.ts";
import type { JsonObject } from "./kube/json.ts";
import { apiServices, endpointSlices, namespaces, services, type ResourceType } from "./kube/resources.ts";
import { withAggregation } from "./kube/testing/aggregating-api-server.ts";
import { kubePrograms, startApiServer, type RealApiServer } from "./kube/testing/real-api-server.ts";
import { trafficMetricsApi } from "./traffic-metrics-api.ts";
import { eventually } from "./xds/testing/envoy.ts";

const programs = await kubePrograms();
/** An endpoint must not be on loopback: the API server would refuse it. */
const address = Object.values(networkInterfaces())
  .flat()
  .find((one) => one?.family === "IPv4" && !one.internal)?.address;
const deployments: ResourceType = { group: "apps", version: "v1", plural: "deployments", kind: "Deployment" };
const system = "isthmus-system";

interface KubeconfigFile {
  readonly clusters: readonly [
    { readonly cluster: Readonly<Record<"server" | "certificate-authority" | "tls-server-name", string>> },
  ];
  readonly users: readonly [{ readonly user: { readonly token: string } }];
}

/** An API server that cannot pass a question on says so in plain text. */
function bodyOf(text: string): JsonObject {
  return text.startsWith("{") ? (JSON.parse(text) as JsonObject) : { text };
}

/** 7 of everything, to Deployment cart-v1 of shop. */
function answerQuery(): Server {
  const metric = { destination_namespace: "shop", destination_name: "cart-v1" };
  const body = { status: "success", data: { resultType: "vector", result: [{ metric, value: [0, "7"] }] } };
  return createServer((_, response) => response.writeHead(200).end(JSON.stringify(body)));
}

async function portOf(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

function deployment(name: string, app: string): JsonObject {
  const labels = { app };
  const template = { metadata: { labels }, spec: { containers: [{ name: "app", image: "app:1" }] } };
  const spec = { selector: { matchLabels: labels }, template };
  return { apiVersion: "apps/v1", kind: "Deployment", metadata: { name, labels }, spec };
}

/** The agent's Service with this process behind it, and the APIService as the chart has it. */
function serviceObjects(port: number): readonly (readonly [ResourceType, string | undefined, JsonObject])[] {
  const ports = [{ name: "https-api", port }];
  const labels = { "kubernetes.io/service-name": "isthmus-agent" };
  const endpoints = [{ addresses: [address], conditions: { ready: true } }];
  const service = { namespace: system, name: "isthmus-agent", port };
  const group = { group: "metrics.smi-spec.io", version: "v1alpha1", groupPriorityMinimum: 100, versionPriority: 10 };
  return [
    [services, system, { apiVersion: "v1", kind: "Service", metadata: { name: "isthmus-agent" }, spec: { ports } }],
    [
      endpointSlices,
      system,
      {
        ...{ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4", ports, endpoints },
        metadata: { name: "isthmus-agent-1", labels },
      },
    ],
    [
      apiServices,
      undefined,
      {
        ...{ apiVersion: "apiregistration.k8s.io/v1", kind: "APIService", spec: { ...group, service } },
        metadata: { name: "v1alpha1.metrics.smi-spec.io" },
      },
    ],
    [deployments, "shop", deployment("cart-v1", "cart")],
    [deployments, "shop", deployment("front-end", "front")],
  ];
}

describe.skipIf(programs === undefined || address === undefined)("TrafficMetrics of a real API server", () => {
  const stop = new AbortController();
  let directory = "";
  let api: RealApiServer | undefined;
  let client: KubeClient;
  let prometheus: Server;
  let running: Promise<unknown> = Promise.resolve();

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "isthmus-aggregation-"));
    api = await startApiServer(withAggregation(programs!, directory));
    client = createClient(await openConnection({ kind: "kubeconfig", path: api.kubeconfig() }, systemClock));
    prometheus = answerQuery();
    const apiPort = await (await ownGround()).port();
    for (const name of ["shop", system])
      await client.create({ resource: namespaces }, { apiVersion: "v1", kind: "Namespace", metadata: { name } });
    for (const [resource, namespace, body] of serviceObjects(apiPort))
      await client.create({ resource, ...(namespace === undefined ? {} : { namespace }) }, body);
    const task = trafficMetricsApi({
      kube: { client },
      config: {
        namespace: system,
        apiPort,
        podLabel: true,
        prometheusUrl: `http://127.0.0.1:${await portOf(prometheus)}`,
      },
      membership: { cluster: "east" as ClusterName },
      clock: systemClock,
      log: jsonLog("error", (line) => process.stderr.write(line)),
    });
    running = task.run(stop.signal).catch((error: unknown) => {
      if (!stop.signal.aborted) throw error;
    });
  }, 120_000);

  afterAll(async () => {
    stop.abort();
    await running;
    prometheus.close();
    client.close();
    await api?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  /** As `kubectl get --raw` does. */
  async function raw(path: string): Promise<{ readonly status: number; readonly body: JsonObject }> {
    const file = JSON.parse(readFileSync(api?.kubeconfig() ?? "", "utf8")) as KubeconfigFile;
    const [{ cluster }] = file.clusters;
    const url = new URL(`/apis/metrics.smi-spec.io/v1alpha1/${path}`, cluster.server);
    const headers = { authorization: `Bearer ${file.users[0].user.token}` };
    const trust = { ca: readFileSync(cluster["certificate-authority"]), servername: cluster["tls-server-name"] };
    return new Promise((resolve, reject) => {
      const sent = get(url, { headers, ...trust }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body: bodyOf(text) }));
      });
      sent.on("error", reject);
    });
  }

  const cart = "namespaces/shop/deployments/cart-v1";

  it("are asked of the agent as soon as it runs: the API server trusts it and calls the group available", async () => {
    const isAnswered = async () => {
      const answer = await raw(cart);
      return answer.status === 200 ? answer.body : undefined;
    };
    expect(await eventually("a question comes through", isAnswered, 60_000)).toMatchObject({
      kind: "TrafficMetrics",
      resource: { kind: "Deployment", namespace: "shop", name: "cart-v1" },
      metrics: expect.arrayContaining([{ name: "success_count", value: "7" }]) as unknown,
    });
    const isAvailable = async () => {
      const { status } = await client.get({ resource: apiServices, name: "v1alpha1.metrics.smi-spec.io" });
      const { conditions = [] } = status as { conditions?: readonly { type: string; status: string }[] };
      return conditions.some((one) => one.type === "Available" && one.status === "True") || undefined;
    };
    await eventually("the APIService is available", isAvailable, 60_000);
  }, 150_000);

  it("choose among objects by the API server's own selectors", async () => {
    const names = async (query: string) => {
      const { body } = await raw(`namespaces/shop/deployments${query}`);
      return (body["items"] as readonly { resource: { name: string } }[]).map(({ resource }) => resource.name);
    };
    expect(await names("")).toEqual(["cart-v1", "front-end"]);
    expect(await names("?labelSelector=app%20in%20(front)")).toEqual(["front-end"]);
    const unreadable = await raw("namespaces/shop/deployments?labelSelector=app%20in%20(");
    expect(unreadable).toMatchObject({ status: 400, body: { kind: "Status", reason: "BadRequest" } });
  });

  it("of what does not exist are not found, and of Prometheus away are unavailable with the reason", async () => {
    expect(await raw("namespaces/shop/deployments/nobody")).toMatchObject({
      status: 404,
      body: { reason: "NotFound" },
    });
    prometheus.close();
    prometheus.closeAllConnections();
    const away = await raw(cart);
    expect(away).toMatchObject({ status: 503, body: { reason: "ServiceUnavailable" } });
    expect(away.body["message"]).toMatch(/ISTHMUS_PROMETHEUS.*does not answer/);
  });
});
