// What the demo shows once the fleet stands, each act with what it must see to be ok.
import type { Cluster } from "../fleet.ts";
import { fleetDomain } from "../joined/hub-process.ts";
import type { ClustersUp } from "../joined/joined-fleet.ts";
import { until } from "../joined/until.ts";
import type { Caller, LoadResult } from "../traffic/caller.ts";
import {
  answeringClusters,
  catalogUrl,
  callerIn,
  describeAnswer,
  describeLoad,
  firstAnswer,
  loadDuring,
  readCatalog,
} from "./shop.ts";

export interface Actors {
  readonly up: ClustersUp;
  readonly storefront: Caller;
}

export async function callAcross({ storefront }: Actors): Promise<string> {
  const first = await firstAnswer(storefront, catalogUrl);
  await answeringClusters(storefront, ["west", "north"]);
  return `storefront in east called ${catalogUrl}: ${first.cluster} answered first (pod ${first.pod}), then both`;
}

export async function callerIdentity({ storefront }: Actors): Promise<string> {
  const { caller, cluster } = readCatalog(await storefront.request({ url: catalogUrl }));
  const expected = `spiffe://east.${fleetDomain}/ns/shop/sa/storefront`;
  if (caller !== expected) throw new Error(`the server in ${cluster} saw ${caller}, not ${expected}`);
  return `the server in ${cluster} saw ${caller}`;
}

export async function denyByDefault({ up }: Actors): Promise<string> {
  const visitor = callerIn(up, "east", "visitor");
  try {
    const answer = await visitor.request({ url: catalogUrl });
    if (answer.status !== 403) throw new Error(`a caller without a grant got ${describeAnswer(answer)}, not 403`);
    return `visitor in east, which no TrafficTarget names: 403 (${(answer.body ?? "").trim()})`;
  } finally {
    visitor.close();
  }
}

function mustNotFail(load: LoadResult, from: string): string {
  if (load.failed > 0) throw new Error(describeLoad(load));
  if ((load.clusters[from] ?? 0) === 0)
    throw new Error(`nothing was answered by ${from} before the fault: ${describeLoad(load)}`);
  return describeLoad(load);
}

async function catalogReplicas(cluster: Cluster, replicas: number): Promise<void> {
  await cluster.kubectl(["scale", "deploy/catalog", "-n", "shop", `--replicas=${replicas}`]);
}

/** Every pod of the service in west is killed and none comes back. */
export async function failoverPods({ up, storefront }: Actors): Promise<string> {
  const west = up.fleet.cluster("west");
  const load = await loadDuring(storefront, async () => {
    await catalogReplicas(west, 0);
    await west.kubectl(["delete", "pods", "-n", "shop", "-l", "app=catalog", "--force", "--grace-period=0"]);
  });
  await catalogReplicas(west, 1);
  await answeringClusters(storefront, ["west", "north"]);
  return `${mustNotFail(load, "west")}; west is back`;
}

/** The gateway pods of west are killed at once and kept away. */
export async function failoverGateway({ up, storefront }: Actors): Promise<string> {
  const west = up.fleet.cluster("west");
  const gateway = ["-n", "isthmus-system"];
  const load = await loadDuring(storefront, async () => {
    await west.kubectl([...gateway, "scale", "deploy/isthmus-gateway", "--replicas=0"]);
    const label = ["-l", "app.kubernetes.io/name=isthmus-gateway"];
    await west.kubectl([...gateway, "delete", "pods", ...label, "--force", "--grace-period=0"]);
  });
  await west.kubectl([...gateway, "scale", "deploy/isthmus-gateway", "--replicas=2"]);
  await until("the gateway of west", 60_000, async () => {
    const text = await west.kubectl([
      ...gateway,
      "get",
      "deploy/isthmus-gateway",
      "-o",
      "jsonpath={.status.readyReplicas}",
    ]);
    return text.trim() === "2";
  });
  return mustNotFail(load, "west");
}
