// The charts on a real API server: what helm renders is accepted, and the agent's account may do what the agent does and
// nothing beside it. No kubelet runs, so no pod starts here; the end-to-end suites do that.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { kubePrograms, startApiServer, type RealApiServer } from "../agent/kube/testing/real-api-server.ts";
import { presentKube } from "../test-clusters/binaries/kube.ts";
import { shopManifests } from "./shop/manifests.ts";
import { chartFolder, helmBuildMs, helmPath } from "./testing/helm.ts";

const programs = await kubePrograms();

interface Outcome {
  readonly status: number | null;
  readonly output: string;
}

describe.skipIf(programs === undefined)("on a real API server", () => {
  let api: RealApiServer;
  let helm = "";
  let kubectl = "";
  let folder = "";

  const run = (program: string, args: readonly string[], input = ""): Promise<Outcome> =>
    new Promise((resolve, reject) => {
      const env = { ...process.env, KUBECONFIG: api.kubeconfig(), HOME: folder };
      const child = spawn(program, args, { env });
      let output = "";
      child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
      child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
      child.on("error", reject);
      child.on("close", (status) => resolve({ status, output }));
      child.stdin.end(input);
    });
  const asAgent = (args: readonly string[], object?: object) =>
    run(kubectl, ["--as", "system:serviceaccount:isthmus-system:isthmus-agent", ...args], JSON.stringify(object));
  const apply = (object: object) => asAgent(["apply", "--server-side", "--validate=false", "-f", "-"], object);
  const configMap = (name: string, namespace: string) => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace },
    data: { "roots.pem": "" },
  });

  beforeAll(async () => {
    if (programs === undefined) return;
    folder = mkdtempSync(join(tmpdir(), "isthmus-charts-"));
    helm = await helmPath();
    const present = await presentKube({ cgroupVersion: 2, containerdMajor: 2 });
    if (!("programs" in present)) throw new Error(present.objection);
    kubectl = present.programs.kubectl;
    api = await startApiServer(programs);
    await run(kubectl, ["create", "namespace", "isthmus-system"]);
    const strict = ["enforce", "warn"].map((mode) => `pod-security.kubernetes.io/${mode}=restricted`);
    await run(kubectl, ["label", "namespace", "isthmus-system", ...strict]);
  }, helmBuildMs);

  afterAll(async () => {
    if (programs === undefined) return;
    await api.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  test("the agent chart installs without a warning of Pod Security, CRDs included", async () => {
    const installed = await run(helm, ["install", "isthmus", chartFolder("agent"), "--namespace", "isthmus-system"]);
    expect(installed).toMatchObject({ status: 0 });
    expect(installed.output).not.toMatch(/warning/i);
    const { output } = await run(kubectl, ["get", "crd", "-o", "name"]);
    expect(output.trim().split("\n")).toHaveLength(readdirSync(join(chartFolder("agent"), "crds")).length);
  });

  test("the hub chart installs without a warning of Pod Security", async () => {
    const given = ["--set", "fleet.domain=acme.mesh,fleet.advertise=hub.example:8443", "--namespace", "isthmus-system"];
    const installed = await run(helm, ["install", "hub", chartFolder("hub"), ...given]);
    expect(installed).toMatchObject({ status: 0 });
    expect(installed.output).not.toMatch(/warning/i);
  });

  test("the demo shop is accepted whole", async () => {
    const shop = shopManifests(["namespace", "storefront", "cart", "catalog", "visitor"], "isthmus.dev/isthmus:test");
    expect(await run(kubectl, ["apply", "-f", "-"], shop)).toMatchObject({ status: 0 });
  });

  test("the agent writes the fleet's roots into any namespace, and no other ConfigMap there", async () => {
    expect(await apply(configMap("isthmus-trust", "shop"))).toMatchObject({ status: 0 });
    expect(await apply(configMap("isthmus-trust", "shop"))).toMatchObject({ status: 0 });
    expect((await apply(configMap("settings", "shop"))).output).toMatch(/forbidden/i);
    expect(await apply(configMap("isthmus-registry-0", "isthmus-system"))).toMatchObject({ status: 0 });
  });

  test("the agent lists the ConfigMaps of its name, and can list no others", async () => {
    const named = ["get", "configmaps", "-A", "-o", "name", "--field-selector"];
    expect((await asAgent([...named, "metadata.name=isthmus-trust"])).output).toContain("configmap/isthmus-trust");
    expect((await asAgent(["get", "configmaps", "-A"])).output).toMatch(/forbidden/i);
  });

  test.each([
    ["list Secrets anywhere", ["get", "secrets", "-A"], /forbidden/i],
    ["list Secrets beside its own", ["-n", "isthmus-system", "get", "secrets"], /forbidden/i],
    ["read another Secret", ["-n", "isthmus-system", "get", "secret", "isthmus-join"], /forbidden/i],
    ["read its own, once there is one", ["-n", "isthmus-system", "get", "secret", "isthmus-cluster-ca"], /not ?found/i],
    ["delete a pod", ["-n", "shop", "delete", "pod", "any"], /forbidden/i],
    ["change a Deployment", ["-n", "shop", "scale", "deployment/cart", "--replicas=0"], /forbidden/i],
  ])("what comes of the agent's attempt to %s", async (_what, args, answer) => {
    expect((await asAgent(args)).output).toMatch(answer);
  });

  test("a caBundle that the agent has put in survives an upgrade of the chart", async () => {
    const clientConfig = { caBundle: Buffer.from("authority").toString("base64") };
    const webhooks = ["isthmus", "osm"].map((label) => ({ name: `${label}.inject.isthmus.dev`, clientConfig }));
    const kind = "MutatingWebhookConfiguration";
    const written = {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind,
      metadata: { name: "isthmus-agent" },
      webhooks,
    };
    expect(await apply(written)).toMatchObject({ status: 0 });
    const again = [
      "upgrade",
      "isthmus",
      chartFolder("agent"),
      "-n",
      "isthmus-system",
      "--set",
      "injector.timeoutSeconds=3",
    ];
    expect(await run(helm, again)).toMatchObject({ status: 0 });
    const path = "jsonpath={.webhooks[*].clientConfig.caBundle} {.webhooks[*].timeoutSeconds}";
    const { output } = await run(kubectl, ["get", kind, "isthmus-agent", "-o", path]);
    expect(output).toBe(`${clientConfig.caBundle} ${clientConfig.caBundle} 3 3`);
  });

  test("removing the agent leaves the CRDs and with them every object of the users", async () => {
    await run(helm, ["uninstall", "isthmus", "--namespace", "isthmus-system"]);
    const { output } = await run(kubectl, ["get", "traffictargets", "-n", "shop", "-o", "name"]);
    expect(output.trim().split("\n")).toHaveLength(2);
  });
});
