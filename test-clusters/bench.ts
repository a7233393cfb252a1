// `npm run bench -- NAME [--json FILE]`: brings up what the bench needs, measures, takes it down, prints every bar and
// whether it is held. `--list` says what there is. Exit status 1 when a bar is missed or nothing could be measured.
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { UserError } from "../shared/errors.ts";
import { causeChain } from "../shared/log.ts";
import type { Bench, BenchContext, BenchResult } from "./benches/bench.ts";
import { failover } from "./benches/failover.ts";
import { issue } from "./benches/issue.ts";
import { join } from "./benches/join.ts";
import { machineFacts } from "./benches/machine.ts";
import { memory } from "./benches/memory.ts";
import { demoSites } from "./benches/demo-sites.ts";
import { policy } from "./benches/policy.ts";
import { propagation } from "./benches/propagation.ts";
import { revoke } from "./benches/revoke.ts";
import { rotation } from "./benches/rotation.ts";
import { benchVersions } from "./benches/versions.ts";
import { downFleet } from "./fleet.ts";
import { whyNoClusters } from "./joined/host.ts";
import {
  joinCluster,
  newRunId,
  openJoinedFleet,
  upClusters,
  upHub,
  type ClustersUp,
  type FleetFile,
} from "./joined/joined-fleet.ts";
import { lineProgress } from "../shared/progress.ts";
import { bringUpSites } from "./sites/site-fleet.ts";

const benches: readonly Bench[] = [failover, propagation, join, memory, demoSites, revoke, policy, rotation, issue];

const usage = `usage: npm run bench -- NAME [--sites] [--case NAME]... [--json FILE] | --list
Brings up what the bench needs and takes it down. ISTHMUS_FLEET=FILE (as the end-to-end runner writes it) measures on a
fleet that is up instead. --sites: on sites, which are processes of this machine; needs no root. --case, repeatable: some
of the bench's cases instead of all.
`;

const say = (line: string) => process.stdout.write(`${line}\n`);

function list(): void {
  for (const bench of benches) {
    const { name, about, bar, minutes, needsRoot } = bench;
    const root = needsRoot ? `; needs root${bench.runOnSites === undefined ? "" : ", or --sites"}` : "";
    say(`${name.padEnd(12)} ${String(minutes).padStart(2)} min  ${bar}${root}`);
    say(`${" ".repeat(21)}${about}`);
    if (bench.cases !== undefined) say(`${" ".repeat(21)}--case ${bench.cases.join(", ")}`);
  }
}

function benchNamed(name: string | undefined): Bench {
  const bench = benches.find((candidate) => candidate.name === name);
  if (bench !== undefined) return bench;
  const what = name === undefined ? "name a bench" : `no bench is called ${name}`;
  throw new UserError("ISTHMUS_USAGE", what, { hint: "npm run bench -- --list" });
}

/** A case that does not exist would measure nothing, and so miss no bar. */
function chosenCases({ name, cases = [] }: Bench, chosen: readonly string[] | undefined): BenchContext["only"] {
  const unknown = chosen?.find((each) => !cases.includes(each));
  if (unknown === undefined) return chosen;
  throw new UserError("ISTHMUS_USAGE", `the bench ${name} has no case ${unknown}`, {
    hint: cases.length === 0 ? "it has no cases" : `--case ${cases.join(", --case ")}`,
  });
}

function benchContext(only: BenchContext["only"], signal: AbortSignal): BenchContext {
  const progress = lineProgress((text) => process.stdout.write(text));
  const withFleet: BenchContext["withFleet"] = async (clusters, work, settings) => {
    const runId = newRunId("bench");
    try {
      const up = { ...(await upClusters({ progress, signal, clusters, runId })), ...(settings && { settings }) };
      await progress.step("hub", () => upHub(up));
      return await unlessStopped(work(up), signal);
    } finally {
      await progress.step("taking the fleet down", () => downFleet(runId));
    }
  };
  return {
    progress,
    signal,
    only,
    withFleet,
    withSites: async (sites, work, settings) => {
      const fleet = await bringUpSites(sites, progress, settings);
      return unlessStopped(work(fleet), signal).finally(() =>
        progress.step("taking the sites down", () => fleet.run.down()),
      );
    },
    withJoinedFleet: async (clusters, work, settings) => {
      const given = process.env["ISTHMUS_FLEET"];
      if (given !== undefined) return work(await openJoinedFleet(JSON.parse(readFileSync(given, "utf8")) as FleetFile));
      const joined = async (up: ClustersUp) => {
        await Promise.all(clusters.map((cluster) => progress.step(`join ${cluster}`, () => joinCluster(up, cluster))));
        return work(up);
      };
      return withFleet(clusters, joined, settings);
    },
  };
}

/** Rejects when the bench is stopped: whatever the work is in the middle of, its fleet is taken down. */
async function unlessStopped<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const stopped = Promise.withResolvers<never>();
  const stop = () => stopped.reject(signal.reason as Error);
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  try {
    return await Promise.race([work, stopped.promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

interface BenchOptions {
  readonly sites: boolean;
  readonly only: readonly string[] | undefined;
  readonly jsonFile: string | undefined;
}

async function runBench(bench: Bench, { sites, only, jsonFile }: BenchOptions, signal: AbortSignal): Promise<boolean> {
  const needsRoot = bench.needsRoot && !sites;
  say(`${bench.name}: ${bench.about}; about ${bench.minutes} min${needsRoot ? ", needs root" : ""}`);
  const reason = needsRoot ? await whyNoClusters() : undefined;
  if (reason !== undefined) throw new UserError("ISTHMUS_BENCH_UNSUPPORTED", reason);
  const machine = machineFacts();
  const context = benchContext(chosenCases(bench, only), signal);
  const { figures, conditions, bars } = sites ? await onSites(bench, context) : await bench.run(context);
  const result = {
    ...figuresOf(bench, figures, sites),
    ...conditions,
    machine,
    versions: await benchVersions(),
  };
  if (jsonFile !== undefined) writeFileSync(jsonFile, `${JSON.stringify(result, null, 2)}\n`);
  say(JSON.stringify(result));
  for (const { text, held } of bars) say(`${held ? "held" : "MISSED"}: ${text}`);
  return bars.every(({ held }) => held);
}

function figuresOf(
  { name }: Bench,
  figures: BenchResult["figures"],
  sites: boolean,
): Readonly<Record<string, unknown>> {
  if (!sites) return { [name]: figures };
  return isList(figures) ? { members: "sites", [name]: figures } : { [name]: { members: "sites", ...figures } };
}

function isList(figures: BenchResult["figures"]): figures is readonly unknown[] {
  return Array.isArray(figures);
}

function onSites(bench: Bench, context: BenchContext): Promise<BenchResult> {
  if (bench.runOnSites !== undefined) return bench.runOnSites(context);
  throw new UserError("ISTHMUS_USAGE", `the bench ${bench.name} does not run on sites`, {
    hint: "npm run bench -- --list",
  });
}

async function main(signal: AbortSignal): Promise<boolean> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      list: { type: "boolean", default: false },
      sites: { type: "boolean", default: false },
      json: { type: "string" },
      case: { type: "string", multiple: true },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) process.stdout.write(usage);
  if (values.list) list();
  if (values.help || values.list) return true;
  return runBench(
    benchNamed(positionals[0]),
    { sites: values.sites, only: values.case, jsonFile: values.json },
    signal,
  );
}

const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const)
  process.once(name, () => stop.abort(new Error(`stopped by ${name}`)));
// Node would end here at once and leave the fleet up: a caller whose pod was killed for its memory did that once
process.on("uncaughtException", (error) => stop.abort(error));
try {
  process.exitCode = (await main(stop.signal)) ? 0 : 1;
} catch (error) {
  const code = error instanceof UserError ? error.code : "ISTHMUS_BENCH";
  process.stderr.write(`${code}: ${causeChain(error).join("; caused by ")}\n`);
  process.exit(1); // what the bench was in the middle of may wait for minutes
}
