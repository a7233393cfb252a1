// Bench `join`: how long `isthmus join` takes on clusters that run already and have the images, one after the other. The
// command ends when agent and gateway are ready; the clock stops only when the hub, too, has the cluster as connected.
import type { Cluster } from "../cluster.ts";
import { clusterNames, createToken, joinWith, type ClustersUp } from "../joined/joined-fleet.ts";
import { until } from "../stage/until.ts";
import { atMost, type Bench, type BenchContext, type BenchResult } from "./bench.ts";
import { joinStages, type PodTimes } from "./join-stages.ts";
import { quantile, rounded } from "./quantile.ts";

const BAR_S = 5;
const SEEN_MS = 10_000;

export const join: Bench = {
  name: "join",
  about: "isthmus join until the agent is ready, the gateway accepts and the hub sees it; three clusters in turn",
  bar: `median at most ${BAR_S} s`,
  minutes: 5,
  needsRoot: true,
  run: (context) => context.withFleet(clusterNames, (up) => measure(up, context)),
};

async function measure(up: ClustersUp, { progress }: BenchContext): Promise<BenchResult> {
  const seconds: number[] = [];
  const stages: object[] = [];
  for (const name of clusterNames) {
    const tokenFile = await createToken(up, name);
    const startedAtMs = Date.now();
    const started = performance.now();
    await progress.step(`join ${name}`, async () => {
      await joinWith(up, name, tokenFile);
      await until(`the hub to see ${name}`, SEEN_MS, () => isConnected(up, name));
    });
    seconds.push(rounded((performance.now() - started) / 1000, 2));
    stages.push({ cluster: name, ...joinStages(startedAtMs, await podTimes(up.fleet.cluster(name))) });
  }
  const median = quantile(seconds, 0.5);
  return {
    figures: { seconds, median_s: median, stages_s: stages },
    bars: [atMost("join median", median, BAR_S, "s")],
  };
}

/** Counts the whole command into the figure: at most one start of Node more than there was to wait for. */
async function isConnected({ product, fleet }: ClustersUp, name: string): Promise<boolean> {
  const text = await product.isthmus(["status", "-o", "json", "--data", fleet.hub.dataDir]);
  const { clusters } = JSON.parse(text) as {
    clusters: readonly { readonly cluster: string; readonly state: string }[];
  };
  return clusters.some(({ cluster, state }) => cluster === name && state === "connected");
}

async function podTimes(cluster: Cluster): Promise<readonly PodTimes[]> {
  const text = await cluster.kubectl(["get", "pods", "-n", "isthmus-system", "-o", "json"]);
  return (JSON.parse(text) as { items: readonly PodTimes[] }).items;
}
