// What the demo shows once the fleet stands, each act with what it must see to be ok. The same on clusters and on sites.
import type { FleetStage, Scene } from "../stage/fleet-under-test.ts";
import { fleetDomain } from "../stage/fleet-domain.ts";
import type { Caller, LoadResult } from "../traffic/caller.ts";
import {
  answeringClusters,
  catalogUrl,
  describeAnswer,
  describeLoad,
  firstAnswer,
  loadDuring,
  readCatalog,
  type LoadPlan,
} from "./shop.ts";

export interface Actors {
  readonly fleet: FleetStage;
  readonly scene: Scene;
  readonly storefront: Caller;
  readonly loadPlan: LoadPlan;
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

export async function denyByDefault({ scene }: Actors): Promise<string> {
  const visitor = await scene.caller("east", "visitor");
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

/** Every pod of the service in west is killed and none comes back. */
export async function failoverPods({ scene, storefront, loadPlan }: Actors): Promise<string> {
  const load = await loadDuring(storefront, loadPlan, () => scene.stopPods("west", "catalog"));
  await scene.startPods("west", "catalog", 1);
  await answeringClusters(storefront, ["west", "north"]);
  return `${mustNotFail(load, "west")}; west is back`;
}

/** The gateways of west are killed at once and kept away. */
export async function failoverGateway({ fleet, storefront, loadPlan }: Actors): Promise<string> {
  const west = fleet.member("west");
  const load = await loadDuring(storefront, loadPlan, () => west.stopGateways());
  await west.startGateways();
  return mustNotFail(load, "west");
}
