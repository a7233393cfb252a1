// The shipped scrape rules and the queries of this folder and of Flagger, by a real Prometheus over what an Envoy says.
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { parse } from "yaml";
import { eventually } from "../xds/testing/envoy.ts";
import { answer } from "./answer.ts";
import { connectPrometheus, PrometheusError } from "./prometheus.ts";
import { findPrometheus, startPrometheus, type RunningPrometheus } from "./testing/prometheus.ts";
import { standIn } from "./testing/stand-in.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const signal = new AbortController().signal;
const root = join(import.meta.dirname, "..", "..");

/** As Envoy writes them: 9 answers of 200 and one of 503 more at every look, each within 25 ms. */
function exposition(looks: number): string {
  const source = `source_namespace="shop",source_kind="Deployment",source_name="front-end",source_pod="f-0",source_cluster="east"`;
  const to = `destination_namespace="shop",destination_kind="Deployment",destination_name="cart-v1",destination_pod="c-0",destination_cluster="east",destination_service="cart-primary"`;
  const canary = `destination_namespace="shop",destination_kind="Deployment",destination_name="cart-v2",destination_cluster="east",destination_service="cart-canary"`;
  const buckets = [
    ["25", 10],
    ["+Inf", 10],
  ].map(
    ([le, count]) => `envoy_osm_request_duration_ms_bucket{${source},${to},le="${le ?? ""}"} ${Number(count) * looks}`,
  );
  return [
    "# TYPE envoy_osm_request_total counter",
    `envoy_osm_request_total{${source},${to},response_code="200"} ${9 * looks}`,
    `envoy_osm_request_total{${source},${to},response_code="503"} ${looks}`,
    // gRPC calls that nobody answers
    `envoy_osm_request_total{${source},${canary},response_code="200",grpc_status="14"} ${looks}`,
    "# TYPE envoy_osm_request_duration_ms histogram",
    ...buckets,
    `envoy_osm_request_duration_ms_sum{${source},${to}} ${200 * looks}`,
    `envoy_osm_request_duration_ms_count{${source},${to}} ${10 * looks}`,
    "",
  ].join("\n");
}

interface ScrapeFile {
  readonly scrape_configs: readonly { readonly job_name: string; readonly metric_relabel_configs?: object }[];
}

interface RulesFile {
  readonly groups: readonly { readonly rules: readonly { readonly alert: string }[] }[];
}

const program = findPrometheus();

describe.skipIf(program === undefined)("a Prometheus with the shipped scrape rules", () => {
  let sidecar: Server;
  let prometheus: RunningPrometheus;
  let looks = 0;

  beforeAll(async () => {
    sidecar = createServer((_, response) => {
      looks += 1;
      response.writeHead(200, { "content-type": "text/plain; version=0.0.4" }).end(exposition(looks));
    });
    await new Promise<void>((resolve) => sidecar.listen(0, "127.0.0.1", resolve));
    const shipped = parse(readFileSync(join(root, "deploy/prometheus/scrape.yaml"), "utf8")) as ScrapeFile;
    const job = shipped.scrape_configs.find(({ job_name }) => job_name === "isthmus-sidecars");
    const target = `127.0.0.1:${(sidecar.address() as AddressInfo).port}`;
    const { metric_relabel_configs } = job ?? {};
    const scrape = { job_name: "sidecars", metrics_path: "/stats/prometheus", metric_relabel_configs };
    prometheus = await startPrometheus(program ?? "", {
      scrape_configs: [{ ...scrape, static_configs: [{ targets: [target] }] }],
      rule_files: [join(root, "deploy/prometheus/rules.yaml")],
    });
    await eventually("a few scrapes are done", () => Promise.resolve(looks >= 5 ? true : undefined));
  });

  afterAll(async () => {
    await (prometheus as RunningPrometheus | undefined)?.stop();
    sidecar.close();
  });

  async function ask(query: string): Promise<number> {
    const answered = await fetch(`${prometheus.url}/api/v1/query?${new URLSearchParams({ query }).toString()}`);
    const { data } = (await answered.json()) as { data: { result: { value: [number, string] }[] } };
    return Number(data.result[0]?.value[1]);
  }

  // https://github.com/fluxcd/flagger/blob/main/pkg/metrics/observers/osm.go, for namespace shop, target cart-v1, interval 1m
  const target = `destination_namespace="shop",destination_kind="Deployment",destination_name="cart-v1"`;
  it.each([
    [
      "success rate",
      `sum(rate(osm_request_total{${target},response_code!~"5.*"}[1m])) / sum(rate(osm_request_total{${target}}[1m])) * 100`,
      90,
    ],
    ["duration", `histogram_quantile(0.99, sum(rate(osm_request_duration_ms_bucket{${target}}[1m])) by (le))`, 24.75],
  ])("answers Flagger's query for the %s of a target with a dash in its name", async (_what, query, expected) => {
    expect(await ask(query)).toBeCloseTo(expected, 1);
  });

  it("answers for TrafficMetrics of an object, of its edges and of a split", async () => {
    const deps = { ...standIn({}), prometheus: connectPrometheus(prometheus.url) };
    const at = (rest: string) => new URL(`https://agent/apis/metrics.smi-spec.io/v1alpha1/${rest}`);
    type Item = { metrics: { name: string; value: string }[]; backend?: object; edge: object };
    const items = async (rest: string) => {
      const { status, body } = await answer(
        at(rest.startsWith("nodes") ? rest : `namespaces/shop/${rest}`),
        deps,
        signal,
      );
      expect(status).toBe(200);
      return ("items" in body ? body.items : [body]) as Item[];
    };
    const value = (item: Item | undefined, name: string) => item?.metrics.find((one) => one.name === name)?.value ?? "";
    const [cart] = await items("deployments/cart-v1");
    expect(Number(value(cart, "success_count"))).toBeGreaterThan(0);
    expect(Number(value(cart, "failure_count"))).toBeGreaterThan(0);
    expect(value(cart, "p50_response_latency")).toBe("12500m");
    const [edge] = await items("deployments/front-end/edges");
    expect(edge?.edge).toEqual({
      ...{ direction: "to", side: "client" },
      resource: { kind: "Deployment", namespace: "shop", name: "cart-v1" },
    });
    expect(Number(value(edge, "success_count"))).toBeGreaterThan(0);
    for (const rest of ["nodes/one", "replicasets/cart-v1-5d9c"]) {
      const [contained] = await items(rest);
      expect(Number(value(contained, "success_count"))).toBeGreaterThan(0);
      expect(Number(value(contained, "failure_count"))).toBeGreaterThan(0);
      expect(value(contained, "p50_response_latency")).toBe("12500m");
    }
    const [node] = await items("nodes/one/edges");
    expect(node?.edge).toMatchObject({ direction: "from", resource: { kind: "Deployment", name: "front-end" } });
    const [primary, canary] = await items("trafficsplits/cart");
    expect(Number(value(primary, "success_count"))).toBeGreaterThan(0);
    expect(canary).toMatchObject({ backend: { name: "cart-canary" } });
    expect(value(canary, "success_count")).toBe("0");
    expect(Number(value(canary, "failure_count"))).toBeGreaterThan(0);
  });

  it("evaluates the shipped alerts: a tenth of these requests fails", async () => {
    const shipped = parse(readFileSync(join(root, "deploy/prometheus/rules.yaml"), "utf8")) as RulesFile;
    const alerts = shipped.groups.flatMap(({ rules }) => rules.map(({ alert }) => alert));
    await eventually("the alert for failing requests is pending", async () => {
      const answered = await fetch(`${prometheus.url}/api/v1/rules`);
      const { data } = (await answered.json()) as { data: { groups: { rules: { name: string; state: string }[] }[] } };
      const rules = data.groups.flatMap((group) => group.rules);
      expect(rules.map(({ name }) => name)).toEqual(alerts);
      return rules.some(({ name, state }) => name === "IsthmusRequestsFail" && state === "pending") || undefined;
    });
  });

  it("says what is wrong with a query that it refuses", async () => {
    const queries = Object.fromEntries(["success_count"].map((name) => [name, "sum("]));
    await expect(connectPrometheus(prometheus.url).query(queries as never, signal)).rejects.toThrow(PrometheusError);
  });
});

describe("a Prometheus that is none", () => {
  it("is said to be away where nothing listens", async () => {
    const one = connectPrometheus("http://127.0.0.1:2");
    await expect(one.query({} as never, signal)).rejects.toThrow(/127\.0\.0\.1:2 does not answer: .*ECONNREFUSED/);
  });

  it("is said to be no Prometheus where something else answers", async () => {
    const server = createServer((_, response) => response.writeHead(200).end("<html>"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/prometheus`;
    await expect(connectPrometheus(url).query({} as never, signal)).rejects.toThrow(/answered 200 and no JSON/);
    server.close();
  });
});
