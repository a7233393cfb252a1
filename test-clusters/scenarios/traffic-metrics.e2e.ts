// TrafficMetrics as `kubectl get --raw` reads them: a real API server asks the agent, the agent asks a real Prometheus, and that one has
// scraped the sidecars of both members by the shipped rules. And what Flagger asks of the same Prometheus.
import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findPrometheus } from "../../agent/traffic-metrics/testing/prometheus.ts";
import { fleetPrometheusUrl, startFleetPrometheus } from "../joined/prometheus.ts";
import { importUrl, untilStatus } from "../stage/asking.ts";
import type { Scene } from "../stage/fleet-under-test.ts";
import { asClusters, openRunnersFleet, runnersFleetKind } from "../stage/runners-fleet.ts";
import { until } from "../stage/until.ts";
import { service, serviceExport, tcpRoute, trafficSplit, trafficTarget, workload } from "../stage/workload.ts";

const namespace = "e2e-traffic";
const program = runnersFleetKind() === "clusters" ? findPrometheus() : undefined;
/** Two scrapes, what is sent on, and a window of 30 s in which a rate needs both ends. */
const MEASURED_MS = 90_000;

interface Item {
  readonly kind: string;
  readonly resource: { readonly kind: string; readonly name: string };
  readonly edge: { readonly direction: string; readonly resource: object | null };
  readonly backend?: { readonly apex: string; readonly name: string; readonly weight: number };
  readonly metrics: readonly { readonly name: string; readonly value: string }[];
}

/** Thousandths, as a Kubernetes Quantity may be written. */
function valueOf({ metrics }: Item, name: string): number {
  const text = metrics.find((one) => one.name === name)?.value ?? "";
  return text.endsWith("m") ? Number(text.slice(0, -1)) / 1000 : Number(text);
}

describe.skipIf(program === undefined)("TrafficMetrics of a cluster", async () => {
  const fleet = asClusters(await openRunnersFleet());
  const east = fleet.up.fleet.cluster("east");
  let scene: Scene;

  /** `front` of east calls the split of two versions, `ledger` in west, and `away`, which has no pods; `audit` of west calls v1. */
  beforeAll(async () => {
    const prometheus = await startFleetPrometheus(fleet.up.fleet, program ?? "");
    scene = await fleet.openScene(namespace, ["east", "west"]);
    const { image } = scene;
    const rule = { kind: "TCPRoute", name: "any" } as const;
    const server = (name: string, sourceClusters = "east") => [
      ...workload({ namespace, name, image }),
      trafficTarget({ namespace, name, to: name, from: ["front", "audit"], sourceClusters, rule }),
    ];
    await Promise.all([
      scene.apply("west", [
        tcpRoute(namespace, "any", []),
        ...server("ledger"),
        serviceExport(namespace, "ledger"),
        ...workload({ namespace, name: "audit", image }),
      ]),
      scene.apply("east", [
        tcpRoute(namespace, "any", []),
        ...["cart-v1", "cart-v2"].flatMap((name) => server(name, "east,west")),
        serviceExport(namespace, "cart-v1"),
        service(namespace, "cart"),
        service(namespace, "away", { app: "nobody" }),
        trafficSplit({ namespace, name: "cart", service: "cart", backends: { "cart-v1": 3, "cart-v2": 1 } }),
        ...workload({ namespace, name: "front", image }),
      ]),
    ]);
    await Promise.all(["east", "west"].map((member) => scene.ready(member)));
    await prometheus.discover();
    const [front, audit] = await Promise.all([scene.caller("east", "front"), scene.caller("west", "audit")]);
    const split = `http://cart.${namespace}:8080/`;
    const nobody = `http://away.${namespace}:8080/`;
    await untilStatus(front, split, 200);
    await untilStatus(front, importUrl("ledger", namespace), 200);
    await untilStatus(audit, importUrl("cart-v1", namespace), 200);
    await untilStatus(front, nobody, 503);
    const steady = { rps: 5, seconds: 3_600 };
    for (const url of [split, nobody, importUrl("ledger", namespace)]) void front.load({ url, ...steady }).catch(ended);
    void audit.load({ url: importUrl("cart-v1", namespace), ...steady }).catch(ended);
  }, 240_000);

  afterAll(() => (scene as Scene | undefined)?.close());

  async function raw(path: string): Promise<{ readonly kind: string; readonly items: readonly Item[] }> {
    const text = await east.kubectl(["get", "--raw", `/apis/metrics.smi-spec.io/v1alpha1/${path}`]);
    const answer = JSON.parse(text) as Item & { readonly items?: readonly Item[] };
    return { kind: answer.kind, items: answer.items ?? [answer] };
  }

  const inNamespace = (path: string) => raw(`namespaces/${namespace}/${path}`);

  /** Asks until all of these items have counted something under that name. */
  function measured(path: string, names: readonly string[], metric = "success_count"): Promise<readonly Item[]> {
    return until(`${metric} of ${names.join(", ")}`, MEASURED_MS, async () => {
      const { items } = await inNamespace(path);
      const found = names.map((name) => items.find((item) => (item.backend?.name ?? item.resource.name) === name));
      const counted = found.flatMap((item) => (item !== undefined && valueOf(item, metric) > 0 ? [item] : []));
      return counted.length === names.length && counted;
    });
  }

  test("are those of a Deployment: what reached it, and how long that took", async () => {
    // each figure is a query of its own, and the first scrapes fall between them; what failed while pods started leaves the window
    const cart = await until("figures of cart-v1", MEASURED_MS, async () => {
      const [item] = await measured("deployments/cart-v1", ["cart-v1"], "p99_response_latency");
      return item !== undefined && valueOf(item, "success_count") > 0 && valueOf(item, "failure_count") === 0 && item;
    });
    expect(cart).toMatchObject({
      kind: "TrafficMetrics",
      resource: { kind: "Deployment", namespace, name: "cart-v1" },
    });
    expect(valueOf(cart, "p99_response_latency")).toBeGreaterThanOrEqual(valueOf(cart, "p50_response_latency"));
  }, 240_000);

  test("are those of Services, pods and the namespace too, and failures are counted apart", async () => {
    await measured("services/away", ["away"], "failure_count");
    const pods = (await scenePods()).filter((name) => name.startsWith("cart-"));
    await measured("pods", pods);
    const { items } = await raw(`namespaces/${namespace}`);
    expect(items.map((item) => valueOf(item, "success_count") > 0)).toEqual([true]);
  });

  test("are those of a node and of a ReplicaSet by the pods that they have", async () => {
    const sets = await east.kubectl(["get", "rs", "-n", namespace, "-l", "app=cart-v1", "-o", "name"]);
    const name = sets.trim().split("/").at(-1) ?? "";
    await measured(`replicasets/${name}`, [name]);
    const { items } = await raw(`nodes/${east.nodeName}`);
    expect(items.map((item) => valueOf(item, "success_count") > 0)).toEqual([true]);
  });

  async function scenePods(): Promise<readonly string[]> {
    const names = await east.kubectl(["get", "pods", "-n", namespace, "-o", "jsonpath={.items[*].metadata.name}"]);
    return names.trim().split(" ");
  }

  test("of a TrafficSplit have one item for each backend, with its weight", async () => {
    const backends = await measured("trafficsplits/cart", ["cart-v1", "cart-v2"]);
    expect(backends.map(({ backend }) => backend)).toEqual([
      { apex: "cart", name: "cart-v1", weight: 3 },
      { apex: "cart", name: "cart-v2", weight: 1 },
    ]);
  });

  test("have edges across clusters: whom a workload calls in another one, and who of another one calls it", async () => {
    const edges = (path: string, wanted: object) =>
      until(`an edge of ${path}`, MEASURED_MS, async () => {
        const { items } = await inNamespace(`deployments/${path}/edges`);
        return items.some((item) => valueOf(item, "success_count") > 0 && isDeepStrictEqual(item.edge, wanted));
      });
    const abroad = (name: string) => ({ kind: "Deployment", namespace, name, cluster: "west" });
    await edges("front", { direction: "to", side: "client", resource: abroad("ledger") });
    await edges("cart-v1", { direction: "from", side: "client", resource: abroad("audit") });
    const here = { kind: "Deployment", namespace, name: "front" };
    await edges("cart-v2", { direction: "from", side: "client", resource: here });
  });

  test("are chosen by label, and found where kubectl looks for resources", async () => {
    const { kind, items } = await inNamespace("deployments?limit=500");
    expect([kind, items.map(({ resource }) => resource.name).sort()]).toEqual([
      "TrafficMetricsList",
      ["cart-v1", "cart-v2", "front"],
    ]);
    const chosen = await inNamespace("pods?labelSelector=app%3Dcart-v2");
    expect(chosen.items.map(({ resource }) => resource.name.replace(/-[^-]+-[^-]+$/, ""))).toEqual(["cart-v2"]);
    const resources = await east.kubectl(["api-resources", "--api-group", "metrics.smi-spec.io", "-o", "name"]);
    expect(resources).toContain("trafficsplits.metrics.smi-spec.io");
  });

  test("are shown to those alone whom RBAC lets see them", async () => {
    const path = `/apis/metrics.smi-spec.io/v1alpha1/namespaces/${namespace}/deployments/cart-v1`;
    await expect(east.kubectl(["get", "--raw", path, "--as", "somebody"])).rejects.toThrow(/[Ff]orbidden/);
  });

  // https://github.com/fluxcd/flagger/blob/main/pkg/metrics/observers/osm.go, for the target that a Canary would name
  const target = `destination_namespace="${namespace}",destination_kind="Deployment",destination_name="cart-v2"`;
  test.each([
    [
      "success rate of a canary",
      `sum(rate(osm_request_total{${target},response_code!~"5.*"}[1m])) / sum(rate(osm_request_total{${target}}[1m])) * 100`,
      (value: number) => value === 100,
    ],
    [
      "duration of its requests",
      `histogram_quantile(0.99, sum(rate(osm_request_duration_ms_bucket{${target}}[1m])) by (le))`,
      (value: number) => value > 0,
    ],
  ])("and the same Prometheus answers Flagger's query for the %s", async (_what, query, isRight) => {
    const url = `${fleetPrometheusUrl(fleet.up.fleet)}/api/v1/query?${new URLSearchParams({ query }).toString()}`;
    await until("Flagger's query to have an answer", MEASURED_MS, async () => {
      const { data } = (await (await fetch(url)).json()) as { data: { result: { value: [number, string] }[] } };
      return isRight(Number(data.result[0]?.value[1]));
    });
  });
});

/** A load ends with its caller, which the end of the scene closes. */
function ended(): void {
  // nothing is lost: what was sent is in the metrics
}
