// The demo's shop on the joined fleet: deployed, waited for, called, and counted while things fail.
import { shopManifests, shopParts } from "../../deploy/shop/manifests.ts";
import type { Cluster } from "../fleet.ts";
import { imageNamed, type ClustersUp } from "../joined/joined-fleet.ts";
import { until } from "../joined/until.ts";
import { openCaller, type Answer, type Caller, type LoadResult } from "../traffic/caller.ts";

const NAMESPACE = "shop";
/** Exists only in west and north; the name is valid in every cluster. */
export const catalogUrl = "http://catalog.shop.svc.clusterset.local:8080/items";

export async function deployShop({ fleet, images }: ClustersUp): Promise<void> {
  const image = imageNamed(images, "isthmus");
  await Promise.all(
    Object.entries(shopParts).map(async ([name, parts]) => {
      const cluster = fleet.cluster(name);
      await cluster.kubectl(["apply", "-f", "-"], { input: shopManifests(parts, image) });
      await rolledOut(cluster);
    }),
  );
}

async function rolledOut(cluster: Cluster): Promise<void> {
  const names = await cluster.kubectl(["get", "deploy", "-n", NAMESPACE, "-o", "name"]);
  for (const name of names.trim().split("\n")) {
    await cluster.kubectl(["rollout", "status", name, "-n", NAMESPACE, "--timeout=90s"], { timeoutMs: 100_000 });
  }
}

export function callerIn({ fleet }: ClustersUp, cluster: string, deployment: string): Caller {
  return openCaller({
    kubectl: fleet.kubectlProgram,
    kubeconfigPath: fleet.kubeconfigPath,
    context: cluster,
    namespace: NAMESPACE,
    target: `deploy/${deployment}`,
    container: "app",
  });
}

export interface CatalogAnswer {
  readonly cluster: string;
  readonly pod: string;
  readonly caller: string;
}

export function readCatalog(answer: Answer): CatalogAnswer {
  if (answer.status !== 200) throw new Error(describeAnswer(answer));
  return JSON.parse(answer.body ?? "") as CatalogAnswer;
}

export function describeAnswer(answer: Answer): string {
  return answer.error ?? `${String(answer.status)} ${(answer.body ?? "").trim().slice(0, 200)}`;
}

/** The first 200 of an imported service: names, certificates and policy have reached everybody. */
export async function firstAnswer(caller: Caller, url: string): Promise<CatalogAnswer> {
  let last = "";
  return until(`an answer from ${url}`, 60_000, async () => {
    const answer = await caller.request({ url });
    last = describeAnswer(answer);
    return answer.status === 200 && readCatalog(answer);
  }).catch((error: unknown) => {
    throw new Error(`no answer from ${url}, the last was: ${last}`, { cause: error });
  });
}

/** Which of the clusters answer now; asks until every one in `want` has. */
export async function answeringClusters(caller: Caller, want: readonly string[]): Promise<ReadonlySet<string>> {
  const seen = new Set<string>();
  await until(`answers from ${want.join(" and ")}`, 30_000, async () => {
    seen.add(readCatalog(await caller.request({ url: catalogUrl })).cluster);
    return want.every((cluster) => seen.has(cluster));
  });
  return seen;
}

const RPS = 100;
const SECONDS = 12;
const BREAK_AFTER_MS = 3_000;

/** Steady requests; `fault` happens in the middle of them. */
export async function loadDuring(caller: Caller, fault: () => Promise<unknown>): Promise<LoadResult> {
  const load = caller.load({ url: catalogUrl, rps: RPS, seconds: SECONDS });
  await new Promise((resolve) => setTimeout(resolve, BREAK_AFTER_MS)); // the load's own time, before the fault
  await fault();
  return load;
}

export function describeLoad({ requests, failed, slowestMs, clusters, failures }: LoadResult): string {
  const shares = Object.entries(clusters).map(([cluster, count]) => `${cluster} ${count}`);
  const why = failed === 0 ? "" : `; first failure: ${JSON.stringify(failures[0])}`;
  return `${failed} of ${requests} requests failed, slowest ${slowestMs.toFixed(0)} ms, answered by ${shares.join(", ")}${why}`;
}
