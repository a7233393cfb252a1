// A site in a fleet of clusters: calls both ways, policy across both kinds, and failover between them. Last of its suite,
// since the site stays a member of the fleet.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { joinGuest, type GuestSite } from "../sites/guest-site.ts";
import { importUrl, untilStatus } from "../stage/asking.ts";
import { fleetDomain } from "../stage/fleet-domain.ts";
import type { Manifest, Scene } from "../stage/fleet-under-test.ts";
import { asClusters, openRunnersFleet, type RunnersFleet } from "../stage/runners-fleet.ts";
import { until } from "../stage/until.ts";
import { httpRouteGroup, serviceExport, trafficTarget, workload } from "../stage/workload.ts";
import type { Caller } from "../traffic/caller.ts";

const SITE = "rack";
const namespace = "e2e-mixed";
/** On a machine that tests share, three times the line to hold. */
const SLOWEST_MS = 1_200 * 3;

let fleet: RunnersFleet;
let guest: GuestSite | undefined;
let clusters: Scene;
let site: Scene;
let inCluster: Caller;
let atSite: Caller;

/** A service of this name, for everybody's `client`. */
function server(name: string, image: string): readonly Manifest[] {
  const rule = { kind: "HTTPRouteGroup", name } as const;
  return [
    ...workload({ namespace, name, image }),
    serviceExport(namespace, name),
    httpRouteGroup(namespace, name, [{ name: "all" }]),
    trafficTarget({ namespace, name, to: name, from: ["client"], sourceClusters: "*", rule }),
  ];
}

beforeAll(async () => {
  fleet = await openRunnersFleet();
  const { up } = asClusters(fleet);
  clusters = await fleet.openScene(namespace, ["east", "west"]);
  guest = await joinGuest(up, SITE);
  site = guest.openScene(namespace);
  const { image } = clusters;
  await Promise.all([
    clusters.apply("east", workload({ namespace, name: "client", image })),
    clusters.apply("west", [...server("ledger", image), ...server("both", image)]),
    site.apply(SITE, [
      ...workload({ namespace, name: "client", image }),
      ...workload({ namespace, name: "stranger", image }),
      ...server("legacy", image),
      ...server("both", image),
    ]),
  ]);
  await Promise.all([clusters.ready("east"), clusters.ready("west"), site.ready(SITE)]);
  inCluster = await clusters.caller("east", "client");
  atSite = await site.caller(SITE, "client");
}, 180_000);

afterAll(async () => {
  await site.close();
  await guest?.down();
  await clusters.close();
});

async function seenBy(caller: Caller, service: string): Promise<unknown> {
  const answer = await untilStatus(caller, importUrl(service, namespace), 200);
  return JSON.parse(answer.body ?? "");
}

function bothAnswer(caller: Caller): Promise<unknown> {
  const seen = new Set<string | undefined>();
  return until("answers from the cluster and the site", 60_000, async () => {
    seen.add((await caller.request({ url: importUrl("both", namespace) })).headers?.["x-shop-cluster"]);
    return seen.has("west") && seen.has(SITE);
  });
}

describe("a cluster and a site", () => {
  test("call each other, each seen by the other as who it is", async () => {
    const id = (member: string) => `spiffe://${member}.${fleetDomain}/ns/${namespace}/sa/client`;
    expect(await seenBy(inCluster, "legacy")).toMatchObject({ cluster: SITE, caller: id("east") });
    expect(await seenBy(atSite, "ledger")).toMatchObject({ cluster: "west", caller: id(SITE) });
  });

  test("refuse who was granted nothing, on either side", async () => {
    const stranger = await site.caller(SITE, "stranger");
    await untilStatus(stranger, importUrl("ledger", namespace), 403);
    await site.remove(SITE, "traffictarget/legacy");
    await untilStatus(inCluster, importUrl("legacy", namespace), 403);
  });

  test("stand in for each other without a lost request", async () => {
    const url = importUrl("both", namespace);
    await bothAnswer(inCluster);
    const load = inCluster.load({ url, rps: 50, seconds: 8 });
    await inCluster.request({ url }); // the load is under way
    await site.stopPods(SITE, "both");
    const { failed, slowestMs, failures } = await load;
    process.stdout.write(`the site's service dies: ${failed} failed, slowest ${slowestMs.toFixed(0)} ms\n`);
    expect(failed, JSON.stringify(failures.slice(0, 3))).toBe(0);
    expect(slowestMs).toBeLessThan(SLOWEST_MS);
    await site.startPods(SITE, "both", 1);
    await bothAnswer(inCluster);
    // at the site its own comes first; without it the cluster answers
    await site.stopPods(SITE, "both");
    await until("the cluster to stand in", 30_000, async () => {
      const answer = await atSite.request({ url });
      return answer.status === 200 && answer.headers?.["x-shop-cluster"] === "west";
    });
  });
});
