// The demo's shop on a fleet: deployed, waited for, called, and counted while things fail.
import { parseAllDocuments } from "yaml";
import { shopManifests, shopParts } from "../../deploy/shop/manifests.ts";
import type { Manifest, Scene } from "../stage/fleet-under-test.ts";
import { until } from "../stage/until.ts";
import type { Answer, Caller, LoadResult } from "../traffic/caller.ts";

export const shopNamespace = "shop";
/** Exists only in west and north; the name is valid in every cluster. */
export const catalogUrl = "http://catalog.shop.svc.clusterset.local:8080/items";

/** Which parts run where; a fleet with less room may leave out what no act needs. */
export async function deployShop(scene: Scene, parts = shopParts): Promise<void> {
  await Promise.all(
    Object.entries(parts).map(async ([member, names]) => {
      const manifests = parseAllDocuments(shopManifests(names, scene.image)).map((each) => each.toJS() as Manifest);
      await scene.apply(member, manifests);
      await scene.ready(member);
    }),
  );
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

/** How long requests flow, and when in that time something breaks. */
export interface LoadPlan {
  readonly seconds: number;
  readonly breakAfterMs: number;
}

const RPS = 100;

/** Steady requests; `fault` happens in the middle of them. */
export async function loadDuring(
  caller: Caller,
  { seconds, breakAfterMs }: LoadPlan,
  fault: () => Promise<unknown>,
): Promise<LoadResult> {
  const load = caller.load({ url: catalogUrl, rps: RPS, seconds });
  await new Promise((resolve) => setTimeout(resolve, breakAfterMs)); // the load's own time, before the fault
  await fault();
  return load;
}

export function describeLoad({ requests, failed, slowestMs, clusters, failures }: LoadResult): string {
  const shares = Object.entries(clusters).map(([cluster, count]) => `${cluster} ${count}`);
  const why = failed === 0 ? "" : `; first failure: ${JSON.stringify(failures[0])}`;
  return `${failed} of ${requests} requests failed, slowest ${slowestMs.toFixed(0)} ms, answered by ${shares.join(", ")}${why}`;
}
