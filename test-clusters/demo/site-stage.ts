// The demo on sites: `npm run demo`. Processes of this machine on loopback addresses; no root, no Docker, no Kubernetes.
import { existsSync } from "node:fs";
import process from "node:process";
import type { ShopPart } from "../../deploy/shop/manifests.ts";
import { lineProgress } from "../../shared/progress.ts";
import { prepareSites, type SiteFleet } from "../sites/site-fleet.ts";
import { memberNames, type DemoStage } from "./stage.ts";
import type { Steps } from "./steps.ts";

/** The cart is called by nobody in the acts, and every workload is three processes here. */
const shopParts: Readonly<Record<string, readonly ShopPart[]>> = {
  east: ["storefront", "visitor"],
  west: ["catalog"],
  north: ["catalog"],
};

export function siteStage(): DemoStage {
  let fleet: SiteFleet | undefined;
  return {
    // processes are found and swept by what /proc says of them
    whyNot: () =>
      Promise.resolve(existsSync("/proc/self/environ") ? undefined : "the demo on sites needs Linux (/proc)"),
    shopParts,
    stopsAnywhere: true,
    loadPlan: { seconds: 4, breakAfterMs: 1_000 },
    bringUp: async (steps) => {
      fleet = await prepareSites(
        memberNames,
        lineProgress((text) => process.stdout.write(text)),
      );
      await runSteps(steps, fleet);
      return fleet;
    },
    nextThings: () => (fleet === undefined ? [] : nextThings(fleet)),
    down: async () => {
      await fleet?.run.down();
    },
  };
}

async function runSteps(steps: Steps, fleet: SiteFleet): Promise<void> {
  await steps.run("clusters-up", `three sites, ${memberNames.join(", ")}: members without Kubernetes`, async () => {
    await Promise.all(memberNames.map((name) => fleet.site(name).start()));
    return `three sites wait for their token: ${fleet.run.places.sites.map(({ address }) => address).join(", ")}`;
  });
  await steps.run("hub-up", "the hub with its root CA and its embedded Redis", async () => {
    await fleet.startHub();
    return `the hub listens on ${fleet.run.places.hubAddress}:${fleet.run.places.hubPort}`;
  });
  // side by side, as an operator with three terminals would; each is a step of its own in the report
  await Promise.all(
    memberNames.map((name) =>
      steps.run(`join-${name}`, `a single-use token for ${name}, which its agent redeems`, async () => {
        await fleet.join(name);
        return `${name} takes part in the fleet`;
      }),
    ),
  );
}

function nextThings(fleet: SiteFleet): readonly string[] {
  const { run, hub } = fleet;
  const data = `--data ${hub.dataDir}`;
  const east = fleet.site("east");
  return [
    `node cli/isthmus.js status ${data}`,
    `node cli/isthmus.js services ${data}`,
    `ls ${east.manifestsDir}     (edit a file: it is read live)`,
    `node cli/isthmus.js run --service hello --account hello --port 8080=9090 --data ${east.dataDir} -- node app.js`,
    `tail -f ${run.folder}/logs/*.log`,
  ];
}
