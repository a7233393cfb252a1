// What the caller's sidecar counts, on clusters and on sites: who called and who answered, refused or was not there, by exact names.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { requestSeries } from "../../agent/xds/testing/request-series.ts";
import { importUrl, untilStatus } from "../stage/asking.ts";
import type { Scene } from "../stage/fleet-under-test.ts";
import { openRunnersFleet, runnersFleetKind } from "../stage/runners-fleet.ts";
import { until } from "../stage/until.ts";
import { httpRouteGroup, serviceExport, trafficTarget, workload } from "../stage/workload.ts";
import type { Caller } from "../traffic/caller.ts";

const namespace = "e2e-metrics";
const onClusters = runnersFleetKind() === "clusters";
let scene: Scene;
let client: Caller;

/** `far-away` in west, `near-by` and `closed` in east; `client` may call the first two, on one path. */
beforeAll(async () => {
  const fleet = await openRunnersFleet();
  scene = await fleet.openScene(namespace, ["east", "west"]);
  const { image } = scene;
  const granted = (name: string) => [
    ...workload({ namespace, name, image }),
    httpRouteGroup(namespace, name, [{ name: "public", pathRegex: "/public" }]),
    trafficTarget({
      ...{ namespace, name, to: name, from: ["client"], sourceClusters: "east" },
      rule: { kind: "HTTPRouteGroup", name },
    }),
  ];
  await scene.apply("west", [...granted("far-away"), serviceExport(namespace, "far-away")]);
  await scene.apply("east", [
    ...granted("near-by"),
    ...workload({ namespace, name: "closed", image }),
    ...workload({ namespace, name: "client", image }),
  ]);
  await Promise.all(["east", "west"].map((member) => scene.ready(member)));
  client = await scene.caller("east", "client");
  await untilStatus(client, importUrl("far-away", namespace, "/public"), 200);
  await untilStatus(client, `http://near-by.${namespace}:8080/public`, 200);
}, 180_000);

afterAll(() => (scene as Scene | undefined)?.close());

/** A site's workload is its own pod. */
function workloadLabels(end: "source" | "destination", name: string): Readonly<Record<string, unknown>> {
  const kind = onClusters ? "Deployment" : "Workload";
  return {
    [`${end}_namespace`]: namespace,
    [`${end}_kind`]: kind,
    [`${end}_name`]: onClusters ? name : `${name}-0`,
  };
}

async function seriesOf(service: string, code: string) {
  const series = requestSeries(await scene.sidecarStats("east", "client"));
  return series.filter(({ labels }) => labels["destination_service"] === service && labels["response_code"] === code);
}

/** One more request of this kind than there was, in one series with these labels. */
async function counted(service: string, code: string, url: string, labels: Readonly<Record<string, unknown>>) {
  const before = (await seriesOf(service, code)).reduce((sum, { value }) => sum + value, 0);
  expect((await client.request({ url })).status).toBe(Number(code));
  const series = await until(`a request to ${service} with ${code} to be counted`, 20_000, async () => {
    const now = await seriesOf(service, code);
    return now.reduce((sum, { value }) => sum + value, 0) > before && now;
  });
  const from = { ...workloadLabels("source", "client"), source_cluster: "east" };
  expect(series.map((one) => one.labels)).toEqual([expect.objectContaining({ ...from, ...labels })]);
  expect(series[0]?.labels["source_pod"]).toMatch(/^client-/);
}

describe("a request is counted by its caller", () => {
  const pod = (name: string) => expect.stringMatching(new RegExp(`^${name}-`)) as string;

  test("within its member, with the workload and the pod that answered", () =>
    counted("near-by", "200", `http://near-by.${namespace}:8080/public`, {
      ...workloadLabels("destination", "near-by"),
      ...{ destination_cluster: "east", destination_pod: pod("near-by") },
    }));

  test("across members, with the member, the workload and the pod that answered", () =>
    counted("far-away", "200", importUrl("far-away", namespace, "/public"), {
      ...workloadLabels("destination", "far-away"),
      ...{ destination_cluster: "west", destination_pod: pod("far-away") },
    }));

  test("that another member's sidecar refuses, with who refused", () =>
    counted("far-away", "403", importUrl("far-away", namespace, "/secret"), {
      ...workloadLabels("destination", "far-away"),
      ...{ destination_cluster: "west", destination_pod: pod("far-away") },
    }));

  test("that its own sidecar refuses, with whom it was meant for", () =>
    counted("closed", "403", `http://closed.${namespace}:8080/`, {
      ...workloadLabels("destination", "closed"),
      ...{ destination_cluster: "east", destination_pod: "unknown" },
    }));

  test("that nobody answers, with whom it was meant for", async () => {
    await scene.stopPods("east", "near-by");
    const url = `http://near-by.${namespace}:8080/public`;
    await untilStatus(client, url, 503);
    await counted("near-by", "503", url, { destination_namespace: namespace, destination_cluster: "east" });
    const [series] = await seriesOf("near-by", "503");
    expect(["Deployment", "Workload", "Service"]).toContain(series?.labels["destination_kind"]);
    expect(series?.labels["destination_name"]).toMatch(/^near-by/);
  });
});
