import { beforeAll, describe, expect, test } from "vitest";
import { parseHubOptions } from "../hub/config.ts";
import { helmBuildMs, helmPath, lint, render, type Manifest, type Rendering } from "./testing/helm.ts";
import { containersOf, restrictedViolations, workloadsOf, type PodSpec } from "./testing/pods.ts";

const given = { "fleet.domain": "acme.mesh", "fleet.advertise": "hub.acme.example:8443" };

let helm = "";
let chart: readonly Manifest[] = [];

beforeAll(async () => {
  helm = await helmPath();
  chart = await hub();
}, helmBuildMs);

function hub(values: Rendering["values"] = {}): Promise<readonly Manifest[]> {
  return render(helm, "hub", { namespace: "mesh", values: { ...given, ...values } });
}

function podOf(manifests: readonly Manifest[]): PodSpec {
  const [workload] = workloadsOf(manifests);
  if (workload === undefined) throw new Error("the chart renders no workload");
  return workload.spec;
}

describe("the hub chart", () => {
  test("passes helm's strict lint", async () => {
    expect(await lint(helm, "hub", { namespace: "mesh", values: given })).toContain("0 chart(s) failed");
  });

  test.each([
    ["the fleet's domain", { "fleet.domain": "" }, /fleet\.domain is missing/],
    ["the address for agents", { "fleet.advertise": "" }, /fleet\.advertise is missing/],
  ])("asks for %s", async (_name, values, message) => {
    await expect(hub(values)).rejects.toThrow(message);
  });

  test.each([
    ["a domain of one label", { "fleet.domain": "mesh" }, /domain/],
    ["a quota beyond all bounds", { "quota.records": 1_000_001 }, /quota/],
    ["a lifetime that is none", { "lifetimes.agent": "soon" }, /lifetimes/],
    ["a misspelt value", { "storage.sizes": "1Gi" }, /sizes/],
  ])("refuses %s", async (_name, values, message) => {
    await expect(hub(values)).rejects.toThrow(message);
  });

  test("starts the hub with options that the hub accepts", async () => {
    const args = podOf(chart).containers[0]?.args ?? [];
    expect(args.slice(0, 2)).toEqual(["/app/cli/isthmus.js", "hub"]);
    const option = (name: string) => args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
    expect(podOf(chart).containers[0]?.env).toContainEqual({ name: "ISTHMUS_DATA", value: "/var/lib/isthmus/data" });
    const config = await parseHubOptions({
      data: "/",
      listen: option("listen"),
      http: option("http"),
      advertise: option("advertise"),
      logLevel: option("log-level"),
    });
    expect(config).toMatchObject({ listen: "0.0.0.0:8443", http: "0.0.0.0:8081", advertise: "hub.acme.example:8443" });
  });

  test("gives the hub the lifetimes that it is given, and none else", async () => {
    const args = podOf(chart).containers[0]?.args ?? [];
    expect(args.filter((arg) => /ttl|skew|refresh/.test(arg))).toEqual([]);
    const lifetimes = {
      clusterCa: "1d",
      agent: "2d",
      root: "400d",
      hub: "30d",
      retireSkew: "1m",
      bundleRefresh: "10m",
    };
    const values = Object.fromEntries(Object.entries(lifetimes).map(([name, life]) => [`lifetimes.${name}`, life]));
    const given = podOf(await hub(values)).containers[0]?.args ?? [];
    const option = (name: string) => given.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
    const dayMs = 86_400_000;
    const config = await parseHubOptions({
      data: "/",
      ...{ clusterCaTtl: option("cluster-ca-ttl"), agentTtl: option("agent-ttl"), rootTtl: option("root-ttl") },
      ...{ hubTtl: option("hub-ttl"), retireSkew: option("retire-skew"), bundleRefresh: option("bundle-refresh") },
    });
    expect(config).toMatchObject({
      ...{ clusterCaTtlMs: dayMs, agentTtlMs: 2 * dayMs, rootTtlMs: 400 * dayMs, serverTtlMs: 30 * dayMs },
      ...{ retireSkewMs: 60_000, bundleRefreshMs: 600_000 },
    });
  });

  test("gives the hub the quotas that it is given, and none else", async () => {
    const quotas = (args: readonly string[] = []) => args.filter((arg) => arg.startsWith("--max-"));
    expect(quotas(podOf(chart).containers[0]?.args)).toEqual([]);
    const given = await hub({ "quota.records": 400_000, "quota.policies": 5 });
    expect(quotas(podOf(given).containers[0]?.args)).toEqual(["--max-policies=5", "--max-records=400000"]);
    const config = await parseHubOptions({ data: "/", maxPolicies: "5", maxRecords: "400000" });
    expect(config).toMatchObject({ maxPoliciesPerMember: 5, maxRecordsPerMember: 400_000 });
  });

  test.each(["0", "-1", "1000001", "many", "1e3"])("has a hub that refuses a quota of %s", async (maxRecords) => {
    await expect(parseHubOptions({ data: "/", maxRecords })).rejects.toThrow(
      `--max-records ${maxRecords}: a member's quota is a number`,
    );
  });

  test("meets the restricted Pod Security Standard, whatever is switched on", async () => {
    const all = await hub({ "redis.urlSecret": "r", "redis.caSecret": "c", "authority.secretName": "a" });
    expect([...workloadsOf(chart), ...workloadsOf(all)].flatMap(restrictedViolations)).toEqual([]);
  });

  test("says what it needs and where it stops", () => {
    for (const { resources } of containersOf(podOf(chart))) {
      expect(resources?.requests).toMatchObject({
        cpu: expect.any(String) as string,
        memory: expect.any(String) as string,
      });
      expect(resources?.limits).toHaveProperty("memory");
    }
  });

  test("asks nothing of Kubernetes: no role, no token", () => {
    expect(chart.filter(({ kind }) => /Role|Binding/.test(kind))).toEqual([]);
    expect(podOf(chart)).toMatchObject({ automountServiceAccountToken: false });
  });

  test("keeps the fleet's keys on a volume of its own, or on the claim that it is given", async () => {
    const claims = (manifests: readonly Manifest[]) =>
      (manifests.find(({ kind }) => kind === "StatefulSet")?.["spec"] as { volumeClaimTemplates?: unknown[] })
        .volumeClaimTemplates;
    expect(claims(chart)).toHaveLength(1);
    const existing = await hub({ "storage.existingClaim": "mine" });
    expect(claims(existing)).toBeUndefined();
    expect(JSON.stringify(podOf(existing).volumes)).toContain('"claimName":"mine"');
  });

  test("takes Redis's address from a Secret and shows it nowhere else", async () => {
    const [container] = podOf(await hub({ "redis.urlSecret": "my-redis" })).containers;
    expect(container?.args?.join(" ")).not.toContain("redis");
    expect(JSON.stringify(container?.env)).toContain('"secretKeyRef":{"name":"my-redis","key":"url"}');
  });

  test("lets every image be replaced", async () => {
    const images = containersOf(podOf(await hub({ "image.registry": "mirror.example/mesh", "image.tag": "v9" })));
    expect(new Set(images.map(({ image }) => image))).toEqual(new Set(["mirror.example/mesh/isthmus:v9"]));
  });
});
