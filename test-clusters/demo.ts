// `npm run demo`: a hub, three clusters and a shop, and what a fleet is for: shown live, in plain words. With `--once` it
// does the same unattended and takes everything down; `--json FILE` writes what every step saw and how long it took.
import { writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { UserError } from "../shared/errors.ts";
import { causeChain } from "../shared/log.ts";
import { callAcross, callerIdentity, denyByDefault, failoverGateway, failoverPods } from "./demo/acts.ts";
import { callerIn, deployShop } from "./demo/shop.ts";
import { demoReport, demoSteps, type Steps } from "./demo/steps.ts";
import { downFleet } from "./fleet.ts";
import { whyNoClusters } from "./joined/host.ts";
import { clusterNames, joinCluster, newRunId, upClusters, upHub, type ClustersUp } from "./joined/joined-fleet.ts";
import { lineProgress } from "../shared/progress.ts";

const joinSteps = clusterNames.map((name) => `join-${name}`);
const acts = ["call-across", "caller-identity", "deny-by-default", "failover-pods", "failover-gateway"];
const expected = ["clusters-up", "hub-up", ...joinSteps, ...acts];

const usage = `usage: npm run demo -- [--kubernetes] [--once] [--json FILE]
Brings up a hub with Redis and three Kubernetes clusters on this machine (root, Linux), joins them and shows calls across
them. Stays up until Ctrl-C; --once takes everything down at the end. --kubernetes is this form, and the default.
`;

const say = (line: string) => process.stdout.write(`${line}\n`);

async function bringUp(steps: Steps, runId: string, signal: AbortSignal): Promise<ClustersUp> {
  const progress = lineProgress((text) => process.stdout.write(text));
  let up: ClustersUp | undefined;
  await steps.run(
    "clusters-up",
    `three Kubernetes clusters, ${clusterNames.join(", ")}, with the same pod and service networks`,
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
    clusterNames.map((name) =>
      steps.run(`join-${name}`, `a single-use token for ${name}, and isthmus join with it`, async () => {
        await joinCluster(clusters, name);
        return `${name} takes part in the fleet`;
      }),
    ),
  );
  return clusters;
}

async function show(steps: Steps, up: ClustersUp): Promise<void> {
  const storefront = { caller: undefined as ReturnType<typeof callerIn> | undefined };
  try {
    await steps.run(
      "call-across",
      "the shop is deployed, and its storefront in east calls a catalog that only west and north have",
      async () => {
        await deployShop(up);
        storefront.caller = callerIn(up, "east", "storefront");
        return callAcross({ up, storefront: storefront.caller });
      },
    );
    if (storefront.caller === undefined) throw new Error("unreachable: the step either set it or threw");
    const actors = { up, storefront: storefront.caller };
    await steps.run("caller-identity", "who does the server see?", () => callerIdentity(actors));
    await steps.run("deny-by-default", "a caller that nobody granted anything", () => denyByDefault(actors));
    await steps.run("failover-pods", "west loses every catalog pod under 100 requests a second", () =>
      failoverPods(actors),
    );
    await steps.run("failover-gateway", "west loses its gateways under 100 requests a second", () =>
      failoverGateway(actors),
    );
  } finally {
    storefront.caller?.close();
  }
}

function nextThings(up: ClustersUp): string {
  const { fleet } = up;
  const data = `--data ${fleet.hub.dataDir}`;
  return `
The fleet stays up until Ctrl-C. Things to try in another terminal:
  export KUBECONFIG=${fleet.kubeconfigPath}
  npx isthmus status ${data}
  npx isthmus services ${data}
  npm run clusters -- kubectl --run ${fleet.runId} east -- get serviceimports -A
  npm run clusters -- blackhole --run ${fleet.runId} east west     (and heal)
`;
}

function interrupted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

interface DemoOptions {
  readonly once: boolean;
  readonly jsonFile: string | undefined;
}

async function demo(options: DemoOptions, signal: AbortSignal): Promise<boolean> {
  const reason = await whyNoClusters();
  if (reason !== undefined) throw new UserError("ISTHMUS_DEMO_UNSUPPORTED", reason);
  const runId = newRunId("demo");
  const steps = demoSteps({ say });
  try {
    const up = await bringUp(steps, runId, signal);
    await show(steps, up);
    if (!options.once) {
      say(nextThings(up));
      await interrupted(signal);
    }
  } catch (error) {
    process.stderr.write(`${causeChain(error).join("; caused by ")}\n`);
  } finally {
    say("taking everything down");
    await downFleet(runId);
  }
  const report = demoReport(expected, steps.results);
  if (options.jsonFile !== undefined) writeFileSync(options.jsonFile, `${JSON.stringify(report, null, 2)}\n`);
  return report.ok;
}

const { values } = parseArgs({
  options: {
    once: { type: "boolean", default: false },
    kubernetes: { type: "boolean", default: true },
    json: { type: "string" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) process.stdout.write(usage);
else {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const)
    process.on(name, () => stop.abort(new Error(`stopped by ${name}`)));
  try {
    process.exitCode = (await demo({ once: values.once, jsonFile: values.json }, stop.signal)) ? 0 : 1;
  } catch (error) {
    const code = error instanceof UserError ? error.code : "ISTHMUS_DEMO";
    process.stderr.write(`${code}: ${causeChain(error).join("; caused by ")}\n`);
    process.exitCode = 1;
  }
}
