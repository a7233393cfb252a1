// The joined fleet of Kubernetes clusters as a fleet under test: what breaks a member is done to its pods and links.
import type { Cluster } from "../fleet.ts";
import type { FleetStage, Member } from "../stage/fleet-under-test.ts";
import { until } from "../stage/until.ts";
import { adoptHub, hubReadyUrl, killHub, startHub } from "./hub-process.ts";
import type { ClustersUp } from "./joined-fleet.ts";
import { openScene, type ClusterScene } from "./scene.ts";

export interface ClusterFleet extends FleetStage {
  readonly kind: "clusters";
  readonly up: ClustersUp;
  openScene(namespace: string, members: readonly string[]): Promise<ClusterScene>;
}

const GATEWAY_REPLICAS = 2;
const GATEWAYS_MS = 60_000;
const system = ["-n", "isthmus-system"];
const force = ["--force", "--grace-period=0"];

export function clusterFleet(up: ClustersUp): ClusterFleet {
  const { fleet } = up;
  return {
    kind: "clusters",
    up,
    members: [...fleet.clusters.keys()],
    product: up.product,
    hub: {
      dataDir: fleet.hub.dataDir,
      readyUrl: hubReadyUrl(fleet),
      kill: async () => killHub(await adoptHub(fleet)),
      start: async () => {
        await startHub(fleet, up.settings?.hub);
      },
    },
    member: (name) => clusterMember(fleet.cluster(name)),
    openScene: (namespace, members) => openScene(up, namespace, members),
    blackhole: (a, b) => fleet.faults.blackhole(a, b),
    heal: (a, b) => fleet.faults.heal(a, b),
  };
}

function clusterMember(cluster: Cluster): Member {
  const deletePods = (name: string) =>
    cluster.kubectl(["delete", "pods", ...system, "-l", `app.kubernetes.io/name=${name}`, ...force]);
  const scale = (replicas: number) =>
    cluster.kubectl([...system, "scale", "deploy/isthmus-gateway", `--replicas=${replicas}`]);
  return {
    name: cluster.name,
    killGateways: async () => {
      await deletePods("isthmus-gateway");
    },
    stopGateways: async () => {
      await scale(0);
      await deletePods("isthmus-gateway");
    },
    startGateways: async () => {
      await scale(GATEWAY_REPLICAS);
      await until(`the gateway of ${cluster.name}`, GATEWAYS_MS, async () => {
        const template = "jsonpath={.status.readyReplicas}";
        const ready = await cluster.kubectl([...system, "get", "deploy/isthmus-gateway", "-o", template]);
        return ready.trim() === String(GATEWAY_REPLICAS);
      });
    },
    killAgents: async () => {
      await deletePods("isthmus-agent");
    },
    agentsBack: async () => {
      const status = ["rollout", "status", "deploy/isthmus-agent", ...system, "--timeout=90s"];
      await cluster.kubectl(status, { timeoutMs: 95_000 });
    },
    complaints: async (namespace, kind, name) => {
      const field = `involvedObject.kind=${kind},involvedObject.name=${name}`;
      const text = await cluster.kubectl(["get", "events", "-n", namespace, "--field-selector", field]);
      return text.includes(name) ? text : "";
    },
  };
}
