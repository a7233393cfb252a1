// `npm run demo`: a hub, three members and a shop, and what a fleet is for: shown live, in plain words. The members are
// sites, processes of this machine; with `--kubernetes` they are real clusters. With `--once` it does the same unattended
// and takes everything down; `--json FILE` writes what every step saw and how long it took.
import { writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { UserError } from "../shared/errors.ts";
import { causeChain } from "../shared/log.ts";
import { callAcross, callerIdentity, denyByDefault, failoverGateway, failoverPods, type Actors } from "./demo/acts.ts";
import { deployShop, shopNamespace } from "./demo/shop.ts";
import { interrupted, stayUntilInterrupted } from "./demo/interruption.ts";
import { memberNames, type DemoStage } from "./demo/stage.ts";
import { demoReport, demoSteps, type Steps } from "./demo/steps.ts";
import type { FleetStage } from "./stage/fleet-under-test.ts";

const joinSteps = memberNames.map((name) => `join-${name}`);
const acts = ["call-across", "caller-identity", "deny-by-default", "failover-pods", "failover-gateway"];
const expected = ["clusters-up", "hub-up", ...joinSteps, ...acts];

const usage = `usage: npm run demo -- [--kubernetes] [--once] [--json FILE]
Brings up a hub with Redis and three sites (members without Kubernetes) as processes of this machine, joins them and shows
calls across them; no root, no Docker. --kubernetes: three real Kubernetes clusters instead (root, Linux). Stays up until
Ctrl-C; --once takes everything down at the end.
`;

const say = (line: string) => process.stdout.write(`${line}\n`);

async function show(steps: Steps, fleet: FleetStage, stage: DemoStage): Promise<void> {
  let actors: Actors | undefined;
  try {
    await steps.run(
      "call-across",
      "the shop is deployed, and its storefront in east calls a catalog that only west and north have",
      async () => {
        const scene = await fleet.openScene(shopNamespace, memberNames);
        await deployShop(scene, stage.shopParts);
        const storefront = await scene.caller("east", "storefront");
        actors = { fleet, scene, storefront, loadPlan: stage.loadPlan };
        return callAcross(actors);
      },
    );
    if (actors === undefined) throw new Error("unreachable: the step either set it or threw");
    const cast = actors;
    await steps.run("caller-identity", "who does the server see?", () => callerIdentity(cast));
    await steps.run("deny-by-default", "a caller that nobody granted anything", () => denyByDefault(cast));
    await steps.run("failover-pods", "west loses every catalog pod under 100 requests a second", () =>
      failoverPods(cast),
    );
    await steps.run("failover-gateway", "west loses its gateways under 100 requests a second", () =>
      failoverGateway(cast),
    );
  } finally {
    actors?.storefront.close();
  }
}

interface DemoOptions {
  readonly once: boolean;
  readonly kubernetes: boolean;
  readonly jsonFile: string | undefined;
}

/** Loaded on demand: the demo without Kubernetes never loads what brings clusters up, nor the other way round. */
async function stageOf({ kubernetes }: DemoOptions): Promise<DemoStage> {
  if (kubernetes) return (await import("./demo/cluster-stage.ts")).clusterStage();
  return (await import("./demo/site-stage.ts")).siteStage();
}

async function play(steps: Steps, stage: DemoStage, { once }: DemoOptions, signal: AbortSignal): Promise<void> {
  const fleet = await stage.bringUp(steps, signal);
  await show(steps, fleet, stage);
  if (once) return;
  say("\nThe fleet stays up until Ctrl-C. Things to try in another terminal:");
  for (const line of stage.nextThings()) say(`  ${line}`);
  await stayUntilInterrupted(signal);
}

async function failWhenAborted(signal: AbortSignal): Promise<never> {
  await interrupted(signal);
  throw signal.reason as Error;
}

async function demo(options: DemoOptions, signal: AbortSignal): Promise<boolean> {
  const stage = await stageOf(options);
  const reason = await stage.whyNot();
  if (reason !== undefined) throw new UserError("ISTHMUS_DEMO_UNSUPPORTED", reason);
  const steps = demoSteps({ say });
  try {
    const played = play(steps, stage, options, signal);
    await (stage.stopsAnywhere ? Promise.race([played, failWhenAborted(signal)]) : played);
  } catch (error) {
    if (!signal.aborted) process.stderr.write(`${causeChain(error).join("; caused by ")}\n`);
  } finally {
    say("taking everything down");
    await stage.down();
  }
  const report = demoReport(expected, steps.results);
  if (options.jsonFile !== undefined) writeFileSync(options.jsonFile, `${JSON.stringify(report, null, 2)}\n`);
  return report.ok;
}

const { values } = parseArgs({
  options: {
    once: { type: "boolean", default: false },
    kubernetes: { type: "boolean", default: false },
    json: { type: "string" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) process.stdout.write(usage);
else {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(name, () => stop.abort(new Error(`stopped by ${name}`)));
  try {
    const { once, kubernetes, json: jsonFile } = values;
    process.exitCode = (await demo({ once, kubernetes, jsonFile }, stop.signal)) ? 0 : 1;
  } catch (error) {
    const code = error instanceof UserError ? error.code : "ISTHMUS_DEMO";
    process.stderr.write(`${code}: ${causeChain(error).join("; caused by ")}\n`);
    process.exitCode = 1;
  }
}
