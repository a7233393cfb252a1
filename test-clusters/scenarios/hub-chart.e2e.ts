// The hub as its chart installs it: pods of a real cluster with their embedded Redis on a volume, and another cluster that
// joins it through its load balancer. It brings up what it needs: on a joined fleet every cluster has a hub already.
import { chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chartFolder } from "../../deploy/testing/helm.ts";
import { silentProgress } from "../../shared/progress.ts";
import { ensureHelm } from "../binaries/go-programs.ts";
import { downFleet, type Cluster } from "../fleet.ts";
import { imageNamed, joinWith, newRunId, upClusters, type ClustersUp } from "../joined/joined-fleet.ts";
import { runCommand } from "../machine/command.ts";
import { until } from "../stage/until.ts";
import { manifestList } from "../stage/workload.ts";

const NAMESPACE = "isthmus-hub";
const POD = "isthmus-hub-0";
const ROLLOUT_MS = 120_000;
/** The user of the image; a hostPath volume is not handed to it by the kubelet. */
const HUB_USER = 65532;
const runId = newRunId("hub");
const inNamespace = ["-n", NAMESPACE];

let up: ClustersUp;
let east: Cluster;
let folder = "";

const isthmus = (...args: readonly string[]) =>
  east.kubectl([...inNamespace, "exec", POD, "-c", "hub", "--", "isthmus", ...args]);

async function loadBalancerAddress(service: string): Promise<string> {
  const path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
  return until(`an address of ${service}`, 20_000, async () => {
    const ip = await east.kubectl([...inNamespace, "get", "service", service, "-o", path]);
    return ip === "" ? undefined : ip;
  });
}

/** The address that the next load balancer gets: the hub has to know its own before it starts. */
async function nextAddress(): Promise<string> {
  await east.kubectl([...inNamespace, "create", "service", "loadbalancer", "reserved", "--tcp=8443"]);
  const address = await loadBalancerAddress("reserved");
  await east.kubectl([...inNamespace, "delete", "service", "reserved"]);
  return address;
}

/** A cluster of these tests provisions no volumes. */
function volume(path: string) {
  const size = { storage: "1Gi" };
  const spec = { accessModes: ["ReadWriteOnce"], storageClassName: "" };
  return [
    {
      ...{ apiVersion: "v1", kind: "PersistentVolume", metadata: { name: "hub-data" } },
      spec: { ...spec, capacity: size, hostPath: { path, type: "Directory" } },
    },
    {
      ...{ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name: "hub-data", namespace: NAMESPACE } },
      spec: { ...spec, volumeName: "hub-data", resources: { requests: size } },
    },
  ];
}

async function installHub(advertise: string): Promise<void> {
  const values = {
    "fleet.domain": "acme.mesh",
    "fleet.advertise": advertise,
    "image.reference": imageNamed(up.images, "isthmus"),
    "storage.existingClaim": "hub-data",
  };
  const set = Object.entries(values).flatMap(([key, value]) => ["--set-string", `${key}=${value}`]);
  const at = ["--kubeconfig", east.kubeconfigPath, "--kube-context", east.context, "--namespace", NAMESPACE];
  await runCommand(await ensureHelm(silentProgress), ["install", "hub", chartFolder("hub"), ...at, ...set]);
}

async function rolledOut(): Promise<void> {
  const status = ["rollout", "status", "statefulset/isthmus-hub", `--timeout=${ROLLOUT_MS / 1000}s`];
  await east.kubectl([...inNamespace, ...status], { timeoutMs: ROLLOUT_MS + 5_000 });
}

beforeAll(async () => {
  const signal = new AbortController().signal;
  up = await upClusters({ clusters: ["east", "west"], runId, progress: silentProgress, signal });
  east = up.fleet.cluster("east");
  folder = await mkdtemp(join(tmpdir(), "isthmus-hub-chart-"));
  await chown(folder, HUB_USER, HUB_USER);
  const strict = { "pod-security.kubernetes.io/enforce": "restricted" };
  const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE, labels: strict } };
  await east.kubectl(["apply", "-f", "-"], { input: manifestList([namespace, ...volume(folder)]) });
}, 600_000);

afterAll(async () => {
  await downFleet(runId);
  await rm(folder, { recursive: true, force: true });
}, 120_000);

describe("the hub's chart", () => {
  test("installs a hub that becomes ready with a fleet of its own, in a namespace of restricted pods", async () => {
    const address = await nextAddress();
    await installHub(`${address}:8443`);
    await rolledOut();
    expect(await loadBalancerAddress("isthmus-hub")).toBe(address);
    expect(JSON.parse(await isthmus("status", "-o", "json"))).toMatchObject({
      fleetDomain: "acme.mesh",
      redis: "connected",
    });
  }, 300_000);

  test("lets another cluster join with a token that the pod made", async () => {
    const tokenFile = join(folder, "west.token");
    await writeFile(tokenFile, await isthmus("token", "create", "west"), { mode: 0o600 });
    await joinWith(up, "west", tokenFile);
    expect(await clusterStates()).toMatchObject({ west: "connected" });
  }, 300_000);

  test("keeps fleet and members on its volume when the pod is killed", async () => {
    await east.kubectl([...inNamespace, "delete", "pod", POD, "--force", "--grace-period=0"]);
    await until("the hub to be back", ROLLOUT_MS, () => rolledOut().then(() => true));
    await until("west to be back at the hub", 60_000, async () => (await clusterStates())["west"] === "connected");
  }, 300_000);
});

/** A hub that is being started answers nothing yet. */
async function clusterStates(): Promise<Readonly<Record<string, string>>> {
  const text = await isthmus("status", "-o", "json").catch(() => '{"clusters":[]}');
  const { clusters } = JSON.parse(text) as { readonly clusters: readonly { cluster: string; state: string }[] };
  return Object.fromEntries(clusters.map(({ cluster, state }) => [cluster, state]));
}
