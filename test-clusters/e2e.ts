// `npm run e2e -- SUITE|all`: runs full suites on sites or real clusters and prints each one's time beside its budget.
// A machine that cannot host clusters skips their suites, says why and how many; with CI=true such a skip is a failure.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { causeChain } from "../shared/log.ts";
import { UserError } from "../shared/errors.ts";
import { add, nothing, record, vitestTally, type Tally } from "../shared/tooling/tally.ts";
import { whyNoClusters } from "./joined/host.ts";
import { bringUpJoinedFleet, clusterNames } from "./joined/joined-fleet.ts";
import { bringUpSites } from "./sites/site-fleet.ts";
import type { RunnersFleetFile } from "./stage/runners-fleet.ts";
import { lineProgress } from "../shared/progress.ts";
import { suites, type Suite } from "./suites.ts";

const say = (line: string) => process.stdout.write(`${line}\n`);

function chosen(names: readonly string[]): readonly Suite[] {
  if (names.length === 0)
    throw new UserError("ISTHMUS_USAGE", "name a suite or all", { hint: "npm run e2e -- --list" });
  if (names.includes("all")) return suites;
  return names.map((name) => {
    const suite = suites.find((candidate) => candidate.name === name);
    if (suite === undefined)
      throw new UserError("ISTHMUS_USAGE", `no suite is called ${name}`, { hint: "npm run e2e -- --list" });
    return suite;
  });
}

interface UpFleet {
  readonly file: RunnersFleetFile;
  down(): Promise<void>;
}

async function fleetFor({ fleet, trafficMetrics }: Suite, signal: AbortSignal): Promise<UpFleet | undefined> {
  const progress = lineProgress((text) => process.stdout.write(text));
  switch (fleet) {
    case "none":
      return undefined;
    case "joined": {
      const up = await bringUpJoinedFleet({ progress, signal, trafficMetrics: trafficMetrics === true });
      return { file: { kind: "clusters", ...up.file }, down: () => up.down() };
    }
    case "sites": {
      const { file, run } = await bringUpSites(clusterNames, progress);
      return { file, down: () => progress.step("taking the sites down", () => run.down()) };
    }
  }
}

/** One suite: its fleet up, vitest over its files, its fleet down, whatever happened in between. */
async function runSuite(suite: Suite, signal: AbortSignal): Promise<Tally> {
  const folder = mkdtempSync(join(tmpdir(), "isthmus-e2e-"));
  const report = join(folder, "report.json");
  const fleet = await fleetFor(suite, signal);
  try {
    await runVitest(suite, { report, fleetFile: fleet && writeFleet(folder, fleet.file), signal });
    return vitestTally(report);
  } finally {
    await fleet?.down();
    rmSync(folder, { recursive: true, force: true });
  }
}

function writeFleet(folder: string, file: RunnersFleetFile): string {
  const path = join(folder, "fleet.json");
  writeFileSync(path, JSON.stringify(file));
  return path;
}

interface VitestRun {
  readonly report: string;
  readonly fleetFile: string | undefined;
  readonly signal: AbortSignal;
}

function runVitest(suite: Suite, run: VitestRun): Promise<void> {
  const files = suite.files.map((file) => `test-clusters/scenarios/${file}`);
  const config = ["--config", "test-clusters/vitest.e2e.config.ts"];
  const only = suite.rows === undefined ? [] : ["--testNamePattern", suite.rows];
  const reporters = ["--reporter", "verbose", "--reporter", "json", "--outputFile", run.report];
  const plain = process.stdout.isTTY ? {} : { NO_COLOR: "1" };
  const fleet = run.fleetFile === undefined ? {} : { ISTHMUS_FLEET: run.fleetFile };
  const env = { ...process.env, ...plain, ...fleet };
  return new Promise((resolve, reject) => {
    const child = spawn("vitest", ["run", ...config, ...reporters, ...only, ...files], { stdio: "inherit", env });
    const stop = () => child.kill("SIGTERM");
    run.signal.addEventListener("abort", stop, { once: true });
    child.on("error", (error) => reject(new Error("cannot start vitest", { cause: error })));
    child.on("close", () => {
      run.signal.removeEventListener("abort", stop);
      resolve();
    });
  });
}

async function runAll(list: readonly Suite[], signal: AbortSignal): Promise<Tally> {
  let sum = nothing;
  const begun = performance.now();
  for (const suite of list) {
    if (signal.aborted) break;
    say(`\n== ${suite.name}: ${suite.about} (budget ${suite.budgetMinutes} min)`);
    const started = performance.now();
    const tally = await runSuite(suite, signal);
    const minutes = ((performance.now() - started) / 60_000).toFixed(1);
    say(`== ${suite.name}: ${tally.passed} passed, ${tally.failed} failed in ${minutes} min of ${suite.budgetMinutes}`);
    sum = add(sum, tally);
  }
  if (list.length > 1)
    say(
      `\n== together: ${sum.passed} passed, ${sum.failed} failed in ${((performance.now() - begun) / 60_000).toFixed(1)} min`,
    );
  return sum;
}

/** Suites on clusters are left out where the machine cannot host any. */
async function thoseThatCanRun(wanted: readonly Suite[]): Promise<readonly Suite[]> {
  const needy = wanted.filter(({ needsRoot }) => needsRoot);
  const reason = needy.length === 0 ? undefined : await whyNoClusters();
  if (reason === undefined) return wanted;
  const failed = process.env["CI"] === "true" ? needy.length : 0;
  record({ passed: 0, failed, skipped: needy.length - failed }, process.env["ISTHMUS_TALLY"]);
  say(`skipped ${needy.length} end-to-end suites: ${reason}`);
  return wanted.filter(({ needsRoot }) => !needsRoot);
}

async function main(argv: readonly string[], signal: AbortSignal): Promise<number> {
  if (argv.includes("--list")) {
    for (const suite of suites)
      say(`${suite.name.padEnd(10)} ${String(suite.budgetMinutes).padStart(3)} min  ${suite.about}`);
    return 0;
  }
  const wanted = chosen(argv);
  const list = await thoseThatCanRun(wanted);
  if (list.length === 0) return process.env["CI"] === "true" ? 1 : 0;
  const sum = await runAll(list, signal);
  record(sum, process.env["ISTHMUS_TALLY"]);
  return sum.failed === 0 && sum.passed > 0 && !signal.aborted ? 0 : 1;
}

const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const)
  process.once(name, () => stop.abort(new Error(`stopped by ${name}`)));
try {
  process.exitCode = await main(process.argv.slice(2), stop.signal);
} catch (error) {
  const code = error instanceof UserError ? error.code : "ISTHMUS_E2E";
  process.stderr.write(`${code}: ${causeChain(error).join("; caused by ")}\n`);
  record({ passed: 0, failed: 1, skipped: 0 }, process.env["ISTHMUS_TALLY"]);
  process.exitCode = 1;
}
