// Bench `rotation`: the fleet's root is rotated under load, once without a fault and once for everything that may go wrong on
// the way: the hub killed in each step, a member away from the hub, an operator who changes his mind, a compromised root.
// Every case is a whole rotation; between cases nothing is restarted, so every pod is older than the roots that it works with.
import { readFile, writeFile } from "node:fs/promises";
import { loadavg } from "node:os";
import { join } from "node:path";
import { startTcpProxy, type TcpProxy } from "../faults/tcp-proxy.ts";
import { clusterFleet } from "../joined/cluster-fleet.ts";
import { clusterNames, type ClustersUp } from "../joined/joined-fleet.ts";
import type { SiteFleet } from "../sites/site-fleet.ts";
import type { FleetStage } from "../stage/fleet-under-test.ts";
import { chartLifetimes, hubLifetimes, lifetimes, siteLifetimes } from "../stage/rotation-lifetimes.ts";
import { openRotationStage, type RotationStage, type Step, type Traffic } from "../stage/rotation-stage.ts";
import { until } from "../stage/until.ts";
import { watchStalls } from "./machine.ts";
import { atMost, type Bench, type BenchContext, type BenchResult } from "./bench.ts";

const RPS = 500;
const AWAY = "north";
const AWAY_MS = 120_000;
const HUB_DOWN_MS = 3_000;

/** What differs between clusters and sites. */
interface Ground {
  readonly fleet: FleetStage;
  /** One member and the hub do not reach each other. */
  readonly cut: () => Promise<void>;
  readonly mend: () => Promise<void>;
  readonly close: () => Promise<void>;
}

function clusterGround(up: ClustersUp): Ground {
  const fleet = clusterFleet(up);
  return {
    fleet,
    cut: () => fleet.blackhole(AWAY, "hub"),
    mend: () => fleet.heal(AWAY, "hub"),
    close: () => Promise.resolve(),
  };
}

/** Sites share a machine, and nothing can be cut in between but a proxy of our own: one of them reaches the hub through it. */
async function siteGround(fleet: SiteFleet): Promise<Ground> {
  const { hubAddress, hubPort } = fleet.run.places;
  const site = fleet.site(AWAY);
  const listen = { host: site.place.address, port: 18_443 };
  const open = () => startTcpProxy({ listen, to: { host: hubAddress, port: hubPort }, delayMs: 0 });
  let proxy: TcpProxy | undefined = await open();
  const file = join(site.dataDir, "identity.json");
  await site.killAgents();
  const identity = JSON.parse(await readFile(file, "utf8")) as Record<string, string>;
  await writeFile(file, JSON.stringify({ ...identity, hub: `${listen.host}:${listen.port}` }), { mode: 0o600 });
  await site.agentsBack();
  await site.startGateways();
  return {
    fleet,
    cut: async () => {
      await proxy?.close();
      proxy = undefined;
    },
    mend: async () => {
      proxy ??= await open();
    },
    close: async () => {
      await proxy?.close();
    },
  };
}

interface Case {
  readonly name: string;
  readonly outcome: "completed" | "rolled-back";
  /** From the operator's word until the rotation is over. */
  readonly run: (stage: RotationStage, ground: Ground) => Promise<unknown>;
}

const killed: readonly Step[] = ["prepared", "trusted", "signing", "retiring"];
const takenBack: readonly Step[] = ["prepared", "trusted", "signing"];

const cases: readonly Case[] = [
  { name: "plain", outcome: "completed", run: (stage) => stage.isthmus("rotate", "root") },
  ...killed.map((step): Case => {
    return { name: `hub-killed-at-${step}`, outcome: "completed", run: (stage, ground) => killAt(step, stage, ground) };
  }),
  { name: "agent-away", outcome: "completed", run: away },
  ...takenBack.map((step): Case => {
    return { name: `rollback-from-${step}`, outcome: "rolled-back", run: (stage) => takeBackFrom(step, stage) };
  }),
  { name: "emergency", outcome: "completed", run: (stage) => stage.isthmus("rotate", "root", "--emergency") },
];

export const rotation: Bench = {
  name: "rotation",
  about: `a whole rotation of the root under ${RPS} requests/s between three members, for each thing that may go wrong`,
  bar: "0 requests failed in every case",
  minutes: 25,
  needsRoot: true,
  cases: cases.map(({ name }) => name),
  run: (context) =>
    context.withJoinedFleet(clusterNames, async (up) => measure(clusterGround(up), context), {
      hub: hubLifetimes,
      join: chartLifetimes,
    }),
  runOnSites: (context) =>
    context.withSites(clusterNames, async (fleet) => measure(await siteGround(fleet), context), {
      hub: hubLifetimes,
      site: siteLifetimes,
    }),
};

/** As soon as the step is entered, in the middle of what it makes agents do. */
async function killAt(step: Step, stage: RotationStage, { fleet }: Ground): Promise<void> {
  await stage.isthmus("rotate", "root", "--hold", step);
  await until(`step ${step}`, 120_000, async () => (await stage.trust()).rotation?.step === step);
  await fleet.hub.kill();
  await pause(HUB_DOWN_MS);
  await fleet.hub.start();
  await stage.isthmus("rotate", "resume");
}

async function away(stage: RotationStage, { cut, mend }: Ground): Promise<void> {
  await cut();
  const backAtMs = performance.now() + AWAY_MS;
  await stage.isthmus("rotate", "root");
  await until(`${AWAY} to hold the rotation up`, AWAY_MS, async () =>
    (await stage.trust()).rotation?.blockers.some((blocker) => blocker.cluster === AWAY && blocker.away),
  );
  await pause(backAtMs - performance.now());
  const { rotation: held } = await stage.trust();
  if (held?.step !== "trusted") throw new Error(`without ${AWAY} the rotation went on to ${held?.step ?? "its end"}`);
  await mend();
}

async function takeBackFrom(step: Step, stage: RotationStage): Promise<void> {
  await stage.isthmus("rotate", "root", "--hold", step);
  await stage.untilHeldIn(step);
  await stage.isthmus("rotate", "rollback");
}

interface CaseResult {
  readonly case: string;
  readonly requests: number;
  readonly failed: number;
  readonly seconds: number;
  readonly handshakes: number;
  readonly slowest_ms: number;
  /** Beside the case: the longest time in which this process did not get the processor, and the load at the end. */
  readonly machine: { readonly stalled_ms: number; readonly load: number };
  readonly said: readonly string[];
}

async function measure(ground: Ground, { progress, only }: BenchContext): Promise<BenchResult> {
  progress.say(`  lifetimes: ${JSON.stringify(lifetimes)}`);
  const chosen = cases.filter(({ name }) => only?.includes(name) !== false);
  const stage = await progress.step("workloads with sidecars, and the first answers", () =>
    openRotationStage(ground.fleet, "bench-rotation", RPS),
  );
  const results: CaseResult[] = [];
  try {
    for (const each of chosen) {
      const result = await progress.step(each.name, () => runCase(each, stage, ground));
      progress.say(`  ${JSON.stringify(result)}`);
      results.push(result);
    }
  } finally {
    await stage.close();
    await ground.close();
  }
  return {
    figures: results,
    conditions: { lifetimes, requests_per_s: RPS },
    bars: results.map(({ case: name, failed, requests }) => atMost(`${name}: failed`, failed, 0, `of ${requests}`)),
  };
}

async function runCase({ name, outcome, run }: Case, stage: RotationStage, ground: Ground): Promise<CaseResult> {
  let seconds = 0;
  const stalled = watchStalls();
  const traffic: Traffic = await stage.during(async () => {
    const started = performance.now();
    await run(stage, ground);
    const ended = await stage.untilOver();
    if (ended !== outcome) throw new Error(`${name}: the rotation was ${ended}, not ${outcome}`);
    seconds = (performance.now() - started) / 1000;
  });
  const { requests, failed, handshakes, slowestMs, said } = traffic;
  const machine = { stalled_ms: stalled(), load: Math.round(loadavg()[0] ?? 0) };
  return {
    case: name,
    requests,
    failed,
    seconds: Math.round(seconds),
    handshakes,
    slowest_ms: slowestMs,
    machine,
    said,
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
