// Which part of a fleet a process is, by its command and its cgroup as /proc shows them: containers are processes of this
// machine, and other runs on it have the same programs. Pure; called by memory.ts.

export type Part = "agent" | "hub" | "redis" | "sidecar" | "gateway";

export interface ProcessFacts {
  readonly argv: readonly string[];
  /** /proc/PID/cgroup */
  readonly cgroups: string;
}

/** Undefined: another run's, or no part of the product. */
export function partOfProcess(runId: string, { argv, cgroups }: ProcessFacts): Part | undefined {
  // Redis writes its whole title into the first argument
  const program = argv[0]?.split(" ")[0]?.split("/").at(-1) ?? "";
  if (cgroups.includes(`/ist-${runId}/`) && cgroups.includes("/kubepods/")) return partInPod(program, argv);
  // the hub is a process beside the clusters: the run's name is in its data folder
  if (!argv.some((argument) => argument.includes(`/runs/${runId}/`))) return undefined;
  if (program === "redis-server") return "redis";
  return program === "node" && argv[2] === "hub" ? "hub" : undefined;
}

function partInPod(program: string, argv: readonly string[]): Part | undefined {
  if (program === "node") return argv[1] === "/app/agent/main.js" ? "agent" : undefined;
  if (program !== "envoy") return undefined;
  return argv[argv.indexOf("--service-node") + 1]?.startsWith("gateway~") === true ? "gateway" : "sidecar";
}
