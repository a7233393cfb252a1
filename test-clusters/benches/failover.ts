// Bench `failover`: the line to hold. Whatever a fleet loses, no idempotent request fails or waits longer than 1.2 seconds; each loss several
// times, for the slowest request is a matter of when it was sent.
import { clusterFleet } from "../joined/cluster-fleet.ts";
import { clusterNames } from "../joined/joined-fleet.ts";
import { faultNames, faultsOf, openFaultStage, type Fault, type FaultStage } from "../stage/fault-stage.ts";
import { chartLifetimes, hubLifetimes, siteLifetimes } from "../stage/rotation-lifetimes.ts";
import type { Trust } from "../stage/rotation-stage.ts";
import type { RunnersFleet } from "../stage/runners-fleet.ts";
import { until } from "../stage/until.ts";
import type { LoadResult } from "../traffic/caller.ts";
import { watchStalls } from "./machine.ts";
import { atMost, type Bench, type BenchContext, type BenchResult } from "./bench.ts";

const SLOWEST_MS = 1_200;
const ROUNDS = 5;
const ROTATION_MS = 120_000;

async function rotationIsOver({ fleet }: FaultStage): Promise<boolean> {
  const text = await fleet.product.isthmus(["trust", "-o", "json", "--data", fleet.hub.dataDir]);
  const { rotation, lastRotation } = JSON.parse(text) as Trust;
  return rotation === undefined && lastRotation?.outcome === "completed";
}

/** Nothing may trust the old root any more: it is another one as fast as agents and proxies can take it. */
const rootCa: Fault = {
  name: "root-ca",
  about: "the root CA is given up for compromised, and another takes its place",
  seconds: 40,
  strike: ({ fleet }) => fleet.product.isthmus(["rotate", "root", "--emergency", "--data", fleet.hub.dataDir]),
  mend: (stage) => until("the rotation to be over", ROTATION_MS, () => rotationIsOver(stage)),
};

export const failover: Bench = {
  name: "failover",
  about: `requests while a member, its gateways, the hub, Redis, agents, an API server and the root CA are lost, ${ROUNDS} times each`,
  bar: `0 requests failed, none slower than ${SLOWEST_MS} ms`,
  minutes: 15,
  needsRoot: true,
  cases: faultNames,
  run: (context) =>
    context.withJoinedFleet(clusterNames, (up) => measure(clusterFleet(up), context), {
      hub: hubLifetimes,
      join: chartLifetimes,
    }),
  runOnSites: (context) =>
    context.withSites(clusterNames, (fleet) => measure(fleet, context), { hub: hubLifetimes, site: siteLifetimes }),
};

interface FaultResult {
  readonly fault: string;
  readonly requests: number;
  readonly failed: number;
  /** Of each round. */
  readonly slowest_ms: readonly number[];
  /** Of the round where it was highest. */
  readonly median_ms: number;
  /** The longest time in which this process did not get the processor. */
  readonly stalled_ms: number;
  readonly said: readonly string[];
}

async function measure(fleet: RunnersFleet, { progress, only, signal }: BenchContext): Promise<BenchResult> {
  const chosen = [...faultsOf(fleet), rootCa].filter(({ name }) => only?.includes(name) !== false);
  const stage = await progress.step("workloads with sidecars, and the first answers", () =>
    openFaultStage(fleet, "bench-failover"),
  );
  const results: FaultResult[] = [];
  try {
    for (const fault of chosen) {
      const result = await progress.step(fault.name, () => repeated(fault, stage, signal));
      progress.say(`  ${JSON.stringify(result)}`);
      results.push(result);
    }
  } finally {
    await stage.close();
  }
  return {
    figures: results,
    bars: results.flatMap(({ fault, requests, failed, slowest_ms: slowest }) => [
      atMost(`${fault}: failed`, failed, 0, `of ${requests}`),
      atMost(`${fault}: slowest request`, Math.max(...slowest), SLOWEST_MS, "ms"),
    ]),
  };
}

async function repeated(fault: Fault, stage: FaultStage, signal: AbortSignal): Promise<FaultResult> {
  const stalled = watchStalls();
  const rounds: LoadResult[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    signal.throwIfAborted();
    try {
      rounds.push(await stage.during(fault.seconds, () => fault.strike(stage)));
    } finally {
      await fault.mend(stage);
    }
  }
  const sum = (of: (round: LoadResult) => number) => rounds.reduce((total, each) => total + of(each), 0);
  return {
    fault: fault.name,
    requests: sum(({ requests }) => requests),
    failed: sum(({ failed }) => failed),
    slowest_ms: rounds.map(({ slowestMs }) => Math.round(slowestMs)),
    median_ms: Math.round(Math.max(...rounds.map(({ medianMs }) => medianMs)) * 10) / 10,
    stalled_ms: stalled(),
    said: rounds.flatMap(({ failures }) => failures.slice(0, 3).map((failure) => JSON.stringify(failure))),
  };
}
