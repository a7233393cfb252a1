// The demo on real Kubernetes clusters: `npm run demo -- --kubernetes`.
import process from "node:process";
import { shopParts } from "../../deploy/shop/manifests.ts";
import { lineProgress } from "../../shared/progress.ts";
import { downFleet } from "../fleet.ts";
import { clusterFleet } from "../joined/cluster-fleet.ts";
import { whyNoClusters } from "../joined/host.ts";
import { joinCluster, newRunId, upClusters, upHub, type ClustersUp } from "../joined/joined-fleet.ts";
import { memberNames, type DemoStage } from "./stage.ts";
import type { Steps } from "./steps.ts";

export function clusterStage(): DemoStage {
  const runId = newRunId("demo");
  let up: ClustersUp | undefined;
  return {
    whyNot: whyNoClusters,
    stopsAnywhere: false, // what starts clusters hears the signal itself, and must have ended before they are swept
    shopParts,
    loadPlan: { seconds: 12, breakAfterMs: 3_000 },
    bringUp: async (steps, signal) => {
      up = await bringUp(steps, runId, signal);
      return clusterFleet(up);
    },
    nextThings: () => (up === undefined ? [] : nextThings(up)),
    down: () => downFleet(runId),
  };
}

async function bringUp(steps: Steps, runId: string, signal: AbortSignal): Promise<ClustersUp> {
  const progress = lineProgress((text) => process.stdout.write(text));
  let up: ClustersUp | undefined;
  await steps.run(
    "clusters-up",
    `three Kubernetes clusters, ${memberNames.join(", ")}, with the same pod and service networks`,
    async () => {
      up = await upClusters({ progress, signal, runId });
      return `kubeconfig with one context per cluster: ${up.fleet.kubeconfigPath}`;
    },
  );
  if (up === undefined) throw new Error("unreachable: the step either set it or threw");
  const clusters = up;
  await steps.run(
    "hub-up",
    "the hub with its root CA and its embedded Redis",
    async () => `the hub listens on ${(await upHub(clusters)).address}`,
  );
  // side by side, as an operator with three terminals would; each is a step of its own in the report
  await Promise.all(
    memberNames.map((name) =>
      steps.run(`join-${name}`, `a single-use token for ${name}, and isthmus join with it`, async () => {
        await joinCluster(clusters, name);
        return `${name} takes part in the fleet`;
      }),
    ),
  );
  return clusters;
}

function nextThings({ fleet }: ClustersUp): readonly string[] {
  const data = `--data ${fleet.hub.dataDir}`;
  return [
    `export KUBECONFIG=${fleet.kubeconfigPath}`,
    `npx isthmus status ${data}`,
    `npx isthmus services ${data}`,
    `npm run clusters -- kubectl --run ${fleet.runId} east -- get serviceimports -A`,
    `npm run clusters -- blackhole --run ${fleet.runId} east west     (and heal)`,
  ];
}
