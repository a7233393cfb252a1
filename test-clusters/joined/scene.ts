// A scenario's stage on the joined fleet: a namespace of its own in every cluster it names, workloads in it, callers from
// it. The fleet was brought up by another process, which says in ISTHMUS_FLEET where it is.
import { readFileSync } from "node:fs";
import process from "node:process";
import type { Cluster } from "../fleet.ts";
import { openCaller, type Answer, type Caller } from "../traffic/caller.ts";
import { imageNamed, openJoinedFleet, type ClustersUp, type FleetFile } from "./joined-fleet.ts";
import { until } from "./until.ts";
import { manifestList, namespaceManifest } from "./workload.ts";

const ROLLOUT_MS = 90_000;

export interface Scene {
  readonly up: ClustersUp;
  readonly namespace: string;
  readonly image: string;
  cluster(name: string): Cluster;
  apply(cluster: string, manifests: readonly object[]): Promise<void>;
  remove(cluster: string, kindAndName: string): Promise<void>;
  /** Until every Deployment of the namespace in this cluster is ready. */
  ready(cluster: string): Promise<void>;
  caller(cluster: string, deployment: string): Caller;
  close(): Promise<void>;
}

/** The fleet that the runner brought up; throws where a scenario is run by itself. */
export function openRunnersFleet(): Promise<ClustersUp> {
  const file = process.env["ISTHMUS_FLEET"];
  if (file === undefined) throw new Error("ISTHMUS_FLEET is not set: run scenarios with npm run e2e -- SUITE");
  return openJoinedFleet(JSON.parse(readFileSync(file, "utf8")) as FleetFile);
}

export async function openScene(up: ClustersUp, namespace: string, clusters: readonly string[]): Promise<Scene> {
  const callers: Caller[] = [];
  const scene: Scene = {
    up,
    namespace,
    image: imageNamed(up.images, "isthmus"),
    cluster: (name) => up.fleet.cluster(name),
    apply: async (cluster, manifests) => {
      const items = manifests as readonly Readonly<Record<string, unknown>>[];
      await up.fleet.cluster(cluster).kubectl(["apply", "-f", "-"], { input: manifestList(items) });
    },
    remove: async (cluster, kindAndName) => {
      await up.fleet.cluster(cluster).kubectl(["delete", kindAndName, "-n", namespace, "--ignore-not-found"]);
    },
    ready: (cluster) => rolledOut(up.fleet.cluster(cluster), namespace),
    caller: (cluster, deployment) => {
      const { kubectlProgram: kubectl, kubeconfigPath } = up.fleet;
      const target = `deploy/${deployment}`;
      const opened = openCaller({ kubectl, kubeconfigPath, context: cluster, namespace, target, container: "app" });
      callers.push(opened);
      return opened;
    },
    close: async () => {
      for (const caller of callers) caller.close();
      await Promise.all(clusters.map((name) => removeNamespace(up.fleet.cluster(name), namespace)));
    },
  };
  await Promise.all(clusters.map((cluster) => scene.apply(cluster, [namespaceManifest(namespace)])));
  return scene;
}

async function rolledOut(cluster: Cluster, namespace: string): Promise<void> {
  const timeout = `--timeout=${ROLLOUT_MS / 1000}s`;
  const names = (await cluster.kubectl(["get", "deploy", "-n", namespace, "-o", "name"])).trim().split("\n");
  await Promise.all(
    names.map((name) =>
      cluster.kubectl(["rollout", "status", name, "-n", namespace, timeout], { timeoutMs: ROLLOUT_MS + 5_000 }),
    ),
  );
}

/** Does not wait: pods end in their own time, and no later scenario uses the name. */
async function removeNamespace(cluster: Cluster, namespace: string): Promise<void> {
  await cluster.kubectl(["delete", "namespace", namespace, "--wait=false", "--ignore-not-found"]);
}

export function importUrl(service: string, namespace: string, path = "/"): string {
  return `http://${service}.${namespace}.svc.clusterset.local:8080${path}`;
}

/** Asks until the status is the one that is waited for; the last answer is in the failure. */
export async function untilStatus(caller: Caller, url: string, status: number, timeoutMs = 45_000): Promise<Answer> {
  let last = "nothing";
  return until(`status ${status} from ${url}`, timeoutMs, async () => {
    const answer = await caller.request({ url });
    last = answer.error ?? `${String(answer.status)} ${(answer.body ?? "").trim()}`;
    return answer.status === status && answer;
  }).catch((cause: unknown) => {
    throw new Error(`${url} did not answer ${status}; the last answer was: ${last}`, { cause });
  });
}
