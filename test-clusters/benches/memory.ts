// Bench `memory`: what the parts of the demo's fleet hold after two idle minutes, as PSS: pages that processes share (an
// Envoy's code) are counted once over all that share them, so the figures add up to what the machine really gives.
import { readdirSync, readFileSync } from "node:fs";
import { catalogUrl, deployShop, firstAnswer, shopNamespace } from "../demo/shop.ts";
import { clusterNames, type ClustersUp } from "../joined/joined-fleet.ts";
import { openScene } from "../joined/scene.ts";
import { atMost, type Bench, type BenchContext, type BenchResult } from "./bench.ts";
import { pssKb } from "./machine.ts";
import { partOfProcess, type Part } from "./process-part.ts";
import { rounded } from "./quantile.ts";

const IDLE_MS = 120_000;
const AGENT_BAR_MB = 200;
const HUB_BAR_MB = 150;

export const memory: Bench = {
  name: "memory",
  about: "PSS of agent, hub, Redis, sidecars and gateways of the demo's fleet after two idle minutes",
  bar: `agent at most ${AGENT_BAR_MB} MB, hub at most ${HUB_BAR_MB} MB`,
  minutes: 7,
  needsRoot: true,
  run: (context) => context.withJoinedFleet(clusterNames, (up) => measure(up, context)),
};

async function measure(up: ClustersUp, { progress, signal }: BenchContext): Promise<BenchResult> {
  await progress.step("the shop, and its first call across", async () => {
    const scene = await openScene(up, shopNamespace, clusterNames);
    await deployShop(scene);
    const caller = await scene.caller("east", "storefront");
    await firstAnswer(caller, catalogUrl).finally(() => caller.close());
  });
  await progress.step("two idle minutes", () => idle(IDLE_MS, signal));
  const parts = partsOfRun(up.fleet.runId);
  const agents = parts.get("agent") ?? [];
  const figures = {
    agent_mb: agents,
    hub_mb: most(parts, "hub"),
    redis_mb: most(parts, "redis"),
    sidecar_mb: parts.get("sidecar") ?? [],
    gateway_mb: parts.get("gateway") ?? [],
  };
  if (agents.length < clusterNames.length)
    throw new Error(`only ${agents.length} agents were found among the processes`);
  return {
    figures,
    bars: [
      atMost("largest agent", Math.max(...agents), AGENT_BAR_MB, "MB"),
      atMost("hub", figures.hub_mb, HUB_BAR_MB, "MB"),
    ],
  };
}

function most(parts: ReadonlyMap<Part, readonly number[]>, part: Part): number {
  const found = parts.get(part) ?? [];
  if (found.length === 0) throw new Error(`no ${part} was found among the processes`);
  return Math.max(...found);
}

/** MB of every process of the run, by the part that it is. */
function partsOfRun(runId: string): ReadonlyMap<Part, readonly number[]> {
  const parts = new Map<Part, number[]>();
  for (const entry of readdirSync("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    const part = partOfProcess(runId, { argv: readProc(pid, "cmdline").split("\0"), cgroups: readProc(pid, "cgroup") });
    if (part !== undefined) parts.set(part, [...(parts.get(part) ?? []), rounded(pssKb(pid) / 1024)]);
  }
  return parts;
}

/** Empty when the process has ended meanwhile. */
function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}

function idle(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        reject(signal.reason as Error);
      },
      { once: true },
    );
  });
}
