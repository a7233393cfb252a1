// A scenario's stage on the joined fleet: a namespace of its own in every cluster it names, workloads in it, callers from
// it.
import type { Cluster } from "../fleet.ts";
import type { Scene } from "../stage/fleet-under-test.ts";
import { openCaller, type Caller } from "../traffic/caller.ts";
import { imageNamed, type ClustersUp } from "./joined-fleet.ts";
import { manifestList, namespaceManifest } from "../stage/workload.ts";

const ROLLOUT_MS = 90_000;

export interface ClusterScene extends Scene {
  cluster(name: string): Cluster;
}

export async function openScene(up: ClustersUp, namespace: string, clusters: readonly string[]): Promise<ClusterScene> {
  const callers: Caller[] = [];
  const { fleet } = up;
  const inNamespace = ["-n", namespace];
  const scale = (cluster: string, deployment: string, replicas: number) =>
    fleet.cluster(cluster).kubectl(["scale", `deploy/${deployment}`, ...inNamespace, `--replicas=${replicas}`]);
  const scene: ClusterScene = {
    namespace,
    image: imageNamed(up.images, "isthmus"),
    cluster: (name) => fleet.cluster(name),
    apply: async (cluster, manifests) => {
      if (manifests.length === 0) return;
      await fleet.cluster(cluster).kubectl(["apply", "-f", "-"], { input: manifestList(manifests) });
    },
    remove: async (cluster, kindAndName, from = namespace) => {
      await fleet.cluster(cluster).kubectl(["delete", kindAndName, "-n", from, "--ignore-not-found"]);
    },
    ready: (cluster) => rolledOut(fleet.cluster(cluster), namespace),
    stopPods: async (cluster, deployment) => {
      await scale(cluster, deployment, 0);
      const pods = ["pods", ...inNamespace, "-l", `app=${deployment}`];
      await fleet.cluster(cluster).kubectl(["delete", ...pods, "--force", "--grace-period=0"]);
    },
    startPods: async (cluster, deployment, replicas) => {
      await scale(cluster, deployment, replicas);
    },
    restartPods: async (cluster, deployment) => {
      await fleet.cluster(cluster).kubectl(["rollout", "restart", `deploy/${deployment}`, ...inNamespace]);
    },
    podAddresses: async (cluster, deployment) => {
      const template = ["-o", "jsonpath={.items[*].status.podIP}"];
      const pods = ["get", "pods", ...inNamespace, "-l", `app=${deployment}`, ...template];
      return (await fleet.cluster(cluster).kubectl(pods)).trim().split(" ");
    },
    sidecarStats: async (cluster, deployment) => {
      const from = fleet.cluster(cluster);
      const name = ["-o", "jsonpath={.items[0].metadata.name}"];
      const pod = (await from.kubectl(["get", "pods", ...inNamespace, "-l", `app=${deployment}`, ...name])).trim();
      return from.kubectl(["get", "--raw", `/api/v1/namespaces/${namespace}/pods/${pod}:15010/proxy/stats/prometheus`]);
    },
    caller: (cluster, deployment) => {
      const opened = callerIn(up, { cluster, namespace, deployment });
      callers.push(opened);
      return Promise.resolve(opened);
    },
    close: async () => {
      for (const caller of callers) caller.close();
      await Promise.all(clusters.map((name) => removeNamespace(fleet.cluster(name), namespace)));
    },
  };
  await Promise.all(clusters.map((cluster) => scene.apply(cluster, [namespaceManifest(namespace)])));
  return scene;
}

interface PodPlace {
  readonly cluster: string;
  readonly namespace: string;
  readonly deployment: string;
}

/** One `kubectl exec` that stays open. */
function callerIn({ fleet }: ClustersUp, { cluster, namespace, deployment }: PodPlace): Caller {
  const place = ["--kubeconfig", fleet.kubeconfigPath, "--context", cluster, "-n", namespace];
  return openCaller({
    command: fleet.kubectlProgram,
    args: [...place, "exec", "-i", `deploy/${deployment}`, "-c", "app", "--", "node"],
    name: `${cluster}/${namespace}/${deployment}`,
  });
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
