// Pods that come and go must not grow a proxy without end: a real Envoy calls a service whose every answer is another pod's.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ClusterName } from "../../shared/ids.ts";
import { bootstrapConfig } from "./bootstrap.ts";
import { connectionManager } from "./connection-manager.ts";
import { answererFilter, requestLog, requestSeriesBound } from "./request-metrics.ts";
import type { JsonMessage } from "./resource.ts";
import { eventually, findEnvoy, start, type Running } from "./testing/envoy.ts";
import { fleetDomain } from "./testing/mesh-case.ts";
import { requestSeries } from "./testing/request-series.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const found = findEnvoy();
const envoy = "path" in found ? found.path : "";
let dir: string;
let application: Server;
let proxy: Running | undefined;
let port = 0;

function socket(of: number): JsonMessage {
  return { socket_address: { address: "127.0.0.1", port_value: of } };
}

function listener(): JsonMessage {
  const routes = [{ match: { prefix: "/" }, route: { cluster: "application" } }];
  const manager = connectionManager({
    statPrefix: "outbound",
    codec: "AUTO",
    routes: { inline: { name: "all", virtual_hosts: [{ name: "all", domains: ["*"], routes }] } },
    filters: [answererFilter],
    extra: { access_log: [requestLog(true)] },
  });
  return { name: "outbound", address: socket(0), filter_chains: [{ filters: [manager] }] };
}

async function startProxy(evictionInterval: string | undefined): Promise<void> {
  const places = { trustDir: dir, tokenDir: dir, configDir: dir };
  const of = { kind: "sidecar", cluster: "east" as ClusterName, fleetDomain, probes: [] } as const;
  const agent = { host: "127.0.0.1", port: 1 };
  const full = bootstrapConfig({ ...of, ...places, agent, bound: { adminSocketPath: join(dir, "admin.sock") } });
  const endpoint = { address: socket((application.address() as AddressInfo).port) };
  const load_assignment = { cluster_name: "application", endpoints: [{ lb_endpoints: [{ endpoint }] }] };
  const clusters = [{ name: "application", type: "STATIC", connect_timeout: "1s", load_assignment }];
  const bootstrap = {
    ...full,
    dynamic_resources: {},
    cluster_manager: {}, // load reports go to an agent
    node: { id: "n", cluster: "c" },
    ...(evictionInterval === undefined
      ? {}
      : { stats_flush_interval: evictionInterval, stats_eviction_interval: evictionInterval }),
    static_resources: { listeners: [listener()], clusters },
  };
  writeFileSync(join(dir, "envoy.json"), JSON.stringify(bootstrap));
  const running = start([envoy, "-c", join(dir, "envoy.json"), "--disable-hot-restart", "-l", "warning"]);
  proxy = running;
  port = await eventually("Envoy listens", async () => {
    const text = await admin("/listeners?format=json").catch(() => "");
    return Number(/"port_value": ?(\d+)/.exec(text)?.[1] ?? 0) || undefined;
  }).catch((error: unknown) => {
    throw new Error(running.log(), { cause: error });
  });
}

function get(options: object, headers: Readonly<Record<string, string>> = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request({ ...options, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve(text));
    });
    sent.on("error", reject).end();
  });
}

function admin(path: string): Promise<string> {
  return get({ socketPath: join(dir, "admin.sock"), path });
}

async function series(metric?: string): Promise<number> {
  return requestSeries(await admin("/stats/prometheus"), metric).length;
}

/** One request for each, answered by a pod of that name. */
async function callPods(prefix: string, count: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  const pods = Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
  await Promise.all(pods.map((pod) => get({ host: "127.0.0.1", port, agent, path: "/" }, { "x-pod": pod })));
  agent.destroy();
}

describe.skipIf(envoy === "")("the series of a proxy under pod churn", () => {
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), "isthmus-bound-"));
    application = createServer((asked, answer) => {
      const pod = String(asked.headers["x-pod"]);
      answer.writeHead(200, { "osm-stats-kind": "Deployment", "osm-stats-name": "cart", "osm-stats-pod": pod }).end();
    });
    await new Promise<void>((resolve) => application.listen(0, "127.0.0.1", resolve));
  });

  afterEach(async () => {
    await proxy?.stop();
    application.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it("stop at the bound, and calls go on", async () => {
    await startProxy(undefined);
    const { counters, histograms } = requestSeriesBound;
    await callPods("cart", counters + 500);
    await eventually("the bound is reached", async () => ((await series()) >= counters ? true : undefined));
    expect(await series()).toBe(counters);
    expect(await series("osm_request_duration_ms_count")).toBe(histograms);
    await callPods("cart", 10);
    expect(await series()).toBe(counters);
  });

  it("go with the pods: one that was not called for an interval or two makes room for another", async () => {
    await startProxy("1s");
    await callPods("old", 50);
    expect(await series()).toBeGreaterThan(0);
    await eventually("the old pods are gone", async () => {
      await callPods("new", 1);
      const now = requestSeries(await admin("/stats/prometheus")).map(({ labels }) => labels["destination_pod"]);
      return now.length === 1 && now[0] === "new-0" ? true : undefined;
    });
  });
});
