// `npm run check`: format, typed lint, types, import boundaries, unused code, unit and golden tests.
// `--fix` (npm run fix) formats and applies lint fixes, and changes nothing else.
// `--only NAME` runs one step; `--only features` the tests with real parts, which `npm test` runs after the check.
// Every step runs even when one before it failed, so one run shows all there is to mend.
// The tests wait for timers and other programs half of their time; what reads the sources runs beside them, one by one.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync } from "node:fs";
import process from "node:process";
import { add, record, vitestTally, type Tally } from "./tally.ts";

interface Step {
  readonly name: string;
  readonly command: readonly string[];
}

interface Result {
  readonly step: Step;
  readonly passed: boolean;
  readonly tally: Tally;
}

const reportOf = (name: string) => `.cache/vitest-${name}.json`;
const folders = ["hub", "agent", "shared", "deploy", "test-clusters", "cli"];
const eslint = [
  "eslint",
  "--config",
  "shared/tooling/eslint.config.mjs",
  "--cache",
  "--cache-location",
  ".cache/eslint",
];
const prettier = ["prettier", "--log-level", "warn", "--cache", "--cache-location", ".cache/prettier"];

function vitest(name: string, config: string): readonly string[] {
  const reporters = ["--reporter", "dot", "--reporter", "json", "--outputFile", reportOf(name)];
  return ["vitest", "run", "--config", `shared/tooling/${config}`, ...reporters];
}

const steps: readonly Step[] = [
  { name: "format", command: [...prettier, "--check", "."] },
  { name: "types", command: ["tsc", "--noEmit"] },
  { name: "lint", command: [...eslint, "--max-warnings", "0", ...folders] },
  {
    name: "boundaries",
    command: ["depcruise", "--config", "shared/tooling/boundaries.cjs", "--output-type", "err", ...folders],
  },
  { name: "unused", command: ["knip", "--cache", "--cache-location", ".cache/knip"] },
  { name: "tests", command: vitest("tests", "vitest.config.ts") },
];

const features: Step = { name: "features", command: vitest("features", "vitest.features.config.ts") };

const fixes: readonly Step[] = [
  { name: "lint", command: [...eslint, "--fix", ...folders] },
  { name: "format", command: [...prettier, "--write", "."] },
];

/** What a step says is printed whole when it ends, so that two side by side do not write into each other's lines. */
async function runStep(step: Step): Promise<boolean> {
  const started = performance.now();
  const [command, ...args] = step.command;
  if (command === undefined) throw new Error(`step ${step.name} has no command`);
  const colours = process.stdout.isTTY ? { FORCE_COLOR: "1" } : { NO_COLOR: "1" };
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...colours } });
  const said: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => said.push(chunk));
  const [status] = (await once(child, "close").catch((cause: unknown) => {
    throw new Error(`cannot start ${command}`, { cause });
  })) as [number | null];
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(Buffer.concat(said));
  process.stdout.write(`${status === 0 ? "ok  " : "FAIL"} ${step.name} ${seconds} s\n`);
  return status === 0;
}

const isTests = ({ name }: Step) => name === "tests" || name === "features";

/** A step is one test; a step of tests is as many as vitest ran. */
function tallyOf(step: Step, passed: boolean): Tally {
  if (isTests(step)) return vitestTally(reportOf(step.name));
  if (passed) return { passed: 1, failed: 0, skipped: 0 };
  return { passed: 0, failed: 1, skipped: 0, failures: [`the check's step ${step.name}`] };
}

mkdirSync(".cache", { recursive: true });
const only = process.argv.includes("--only") ? process.argv[process.argv.indexOf("--only") + 1] : undefined;
const offered = process.argv.includes("--fix") ? fixes : only === "features" ? [features] : steps;
const chosen = offered.filter((step) => only === undefined || step.name === only);
for (const { name } of chosen.filter(isTests)) rmSync(reportOf(name), { force: true });

async function runOneByOne(lane: readonly Step[]): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (const step of lane) {
    const passed = await runStep(step);
    results.push({ step, passed, tally: tallyOf(step, passed) });
  }
  return results;
}

const lanes = [chosen.filter(isTests), chosen.filter((step) => !isTests(step))];
const results = (await Promise.all(lanes.map(runOneByOne))).flat();
const failed = results.filter((result) => !result.passed).map((result) => result.step);
record(results.map((result) => result.tally).reduce(add), process.env["ISTHMUS_TALLY"]);
if (failed.length > 0) process.stdout.write(`failed: ${failed.map((s) => s.name).join(", ")}\n`);
process.exitCode = failed.length === 0 && chosen.length > 0 ? 0 : 1;
