// Bench `propagation`: from the end of a write of an EndpointSlice in west (the API server's answer; on sites the rename
// of the manifest's file) to the ACK of the sidecar in east whose EDS carries it. Writes in schedule whatever is still on
// its way; listens to ACKs where they arrive; no poll.
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ClustersUp } from "../joined/joined-fleet.ts";
import { openScene } from "../joined/scene.ts";
import type { SiteFleet } from "../sites/site-fleet.ts";
import { untilStatus } from "../stage/asking.ts";
import type { Manifest, Scene } from "../stage/fleet-under-test.ts";
import { until } from "../stage/until.ts";
import type { Caller } from "../traffic/caller.ts";
import { tapEdsAcks, tapSiteAcks, type AckLine, type AckTap, type OnAck } from "./ack-tap.ts";
import { atMost, type Bench, type BenchContext, type BenchResult } from "./bench.ts";
import { clusterClient } from "./cluster-access.ts";
import {
  benchNamespace,
  clientName,
  clientResource,
  eastManifests,
  edsScale,
  endpointSlice,
  gatewayResource,
  serverName,
  serviceUrl,
  slicePath,
  westManifests,
} from "./propagation-objects.ts";
import {
  delaysMs,
  isSame,
  planSteps,
  podCount,
  stateBefore,
  stateOf,
  type Acked,
  type Assignment,
  type SliceState,
  type Step,
  type Written,
} from "./propagation-plan.ts";
import { quantile, rounded } from "./quantile.ts";

const COUNT = 200;
const EVERY_MS = 100;
const BAR_MS = 500;
/** After the last write: a change that has not arrived by then is lost, not slow. */
const ARRIVAL_MS = 15_000;
const CLUSTERS = ["east", "west"];

export const propagation: Bench = {
  name: "propagation",
  about: `${COUNT} writes of an EndpointSlice in west at ${1000 / EVERY_MS}/s, each until the ACK of a sidecar in east`,
  bar: `p99 at most ${BAR_MS} ms (goal 50 ms)`,
  minutes: 6,
  needsRoot: true,
  run: (context) =>
    context.withJoinedFleet(CLUSTERS, async (up) => {
      const ground = await clusterGround(up);
      return measure(ground, context).finally(() => ground.close());
    }),
  runOnSites: (context) =>
    context.withSites(CLUSTERS, async (fleet) => {
      const ground = await siteGround(fleet);
      return measure(ground, context).finally(() => ground.close());
    }),
};

/** What differs between clusters and sites. */
interface Ground {
  readonly scene: Scene;
  readonly tap: (member: "east" | "west", onAck: OnAck) => Promise<AckTap>;
  /** Resolves when the whole slice of west is written. */
  readonly writeSlice: (slice: Manifest) => Promise<void>;
  readonly close: () => Promise<void>;
}

async function clusterGround(up: ClustersUp): Promise<Ground> {
  const scene = await openScene(up, benchNamespace, CLUSTERS);
  const client = await clusterClient(scene.cluster("west"));
  let exists = false;
  return {
    scene,
    tap: (name, onAck) => tapEdsAcks(scene.cluster(name), { kubectl: up.fleet.kubectlProgram, onAck }),
    writeSlice: async (slice) => {
      if (exists) await client.send("PUT", slicePath, slice);
      else await client.apply(slicePath, slice);
      exists = true;
    },
    close: async () => {
      await scene.close();
      client.close();
    },
  };
}

async function siteGround(fleet: SiteFleet): Promise<Ground> {
  const scene = await fleet.openScene(benchNamespace, CLUSTERS);
  const file = join(fleet.site("west").manifestsDir, `${benchNamespace}.EndpointSlice.json`);
  return {
    scene,
    tap: (name, onAck) => tapSiteAcks(fleet.site(name).adminUrl("/debug/acks?type=eds"), onAck),
    // as an editor or a configuration tool does it: the file is never half of itself
    writeSlice: async (slice) => {
      await writeFile(`${file}.new`, JSON.stringify(slice));
      await rename(`${file}.new`, file);
    },
    close: () => scene.close(),
  };
}

/** As the agents stamp ACKs: ms since 1970, with fractions. The kernel slews all processes' clocks alike. */
const now = () => performance.timeOrigin + performance.now();

async function measure({ scene, tap, writeSlice }: Ground, { progress }: BenchContext): Promise<BenchResult> {
  const listener = ackListener();
  const taps = await Promise.all((["east", "west"] as const).map((name) => tap(name, listener[name])));
  const broken = Promise.race(taps.map((each) => each.broken));
  try {
    const slice = await progress.step("workloads with sidecars, and the first answer", () => stage(scene, writeSlice));
    const caller = await scene.caller("east", clientName);
    await untilStatus(caller, serviceUrl, 200);
    await untilTapped(slice, listener);
    const run = await progress.step(`${COUNT} writes`, () =>
      Promise.race([broken, runSteps(planSteps(COUNT), { slice, caller, listener })]),
    );
    return report(run, listener);
  } finally {
    for (const each of taps) each.close();
  }
}

interface Slice {
  /** When the write began and when it was done. */
  write(state: SliceState): Promise<{ readonly sentAtMs: number; readonly answeredAtMs: number }>;
}

async function stage(scene: Scene, writeSlice: Ground["writeSlice"]): Promise<Slice> {
  await scene.apply("west", westManifests(scene.image));
  await scene.apply("east", eastManifests(scene.image));
  await Promise.all([scene.ready("west"), scene.ready("east")]);
  const addresses = await scene.podAddresses("west", serverName);
  if (addresses.length !== podCount)
    throw new Error(`${podCount} pods were asked for, west has ${addresses.join(", ")}`);
  await writeSlice(endpointSlice(addresses, stateBefore));
  return {
    write: async (state) => {
      const sentAtMs = now();
      await writeSlice(endpointSlice(addresses, state));
      return { sentAtMs, answeredAtMs: now() };
    },
  };
}

interface AckListener {
  readonly east: (line: AckLine) => void;
  readonly west: (line: AckLine) => void;
  /** ACKs of the client's sidecar in east. */
  readonly client: Acked[];
  /** ACKs of the gateways in west: for each state the first of them counts. */
  readonly gateway: Acked[];
  onClient: (ack: Acked) => void;
}

function ackListener(): AckListener {
  const listener: AckListener = {
    client: [],
    gateway: [],
    onClient: () => undefined,
    east: ({ atMs, pod, resources }) => {
      if (!pod.startsWith(`${clientName}-`)) return;
      for (const { name, value } of resources) {
        if (name !== clientResource) continue;
        const ack = { atMs, state: stateOf(value as Assignment, edsScale) };
        listener.client.push(ack);
        listener.onClient(ack);
      }
    },
    west: ({ atMs, resources }) => {
      const found = resources.find(({ name }) => name === gatewayResource);
      if (found !== undefined) listener.gateway.push({ atMs, state: gatewayState(found.value as Assignment) });
    },
  };
  return listener;
}

/** A gateway is given the pods themselves. */
function gatewayState({ endpoints = [] }: Assignment): SliceState {
  const hosts = endpoints.flatMap((locality) => locality.lb_endpoints ?? []);
  return { ready: hosts.filter((host) => host.health_status === "HEALTHY").length, total: hosts.length };
}

/** The streams carry what happens from now on only once they are open: nothing counts before a change came through both. */
async function untilTapped(slice: Slice, { client, gateway }: AckListener): Promise<void> {
  const states = [{ ready: 2, total: 2 }, stateBefore];
  let turn = 0;
  await until("the taps to show a change", 30_000, async () => {
    await slice.write(states[turn++ % 2] ?? stateBefore);
    return client.length > 0 && gateway.length > 0;
  });
  await slice.write(stateBefore);
  await until("the first state in east", 10_000, () => {
    const last = client.at(-1);
    return Promise.resolve(last !== undefined && isSame(last.state, stateBefore));
  });
  client.length = 0;
  gateway.length = 0;
}

interface StepWrite extends Written {
  readonly step: Step;
}

interface Turn {
  readonly kind: Step["kind"];
  readonly status: number | string;
  /** The answer came before the next turn was written: it speaks of this one. */
  readonly inTime: boolean;
  readonly said: string;
  readonly askedAfterAckMs: number;
}

interface Run {
  readonly writes: readonly StepWrite[];
  readonly turns: readonly Turn[];
}

interface Stage {
  readonly slice: Slice;
  readonly caller: Caller;
  readonly listener: AckListener;
}

async function runSteps(steps: readonly Step[], { slice, caller, listener }: Stage): Promise<Run> {
  const writes: StepWrite[] = [];
  const requests: Promise<Turn>[] = [];
  let turns = 0;
  const startMs = now();
  for (const [index, step] of steps.entries()) {
    await atTime(startMs + index * EVERY_MS);
    if (step.kind !== "weight") {
      const turn = (turns += 1);
      listener.onClient = ({ state, atMs }) => {
        if (state.ready > 0 !== (step.kind === "open")) return;
        listener.onClient = () => undefined;
        requests.push(confirm(caller, step.kind, { ackedAtMs: atMs, isCurrent: () => turn === turns }));
      };
    }
    // one after the other: two writes under way at once could arrive in the other order
    writes.push({ step, state: step.state, ...(await slice.write(step.state)) });
  }
  await until("the last change to arrive", ARRIVAL_MS, () =>
    Promise.resolve(delaysMs(writes, listener.client).every((delay) => delay !== undefined)),
  );
  return { writes, turns: await Promise.all(requests) };
}

async function atTime(timeMs: number): Promise<void> {
  const waitMs = timeMs - now();
  if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
}

interface Moment {
  readonly ackedAtMs: number;
  readonly isCurrent: () => boolean;
}

async function confirm(caller: Caller, kind: Step["kind"], { ackedAtMs, isCurrent }: Moment): Promise<Turn> {
  const askedAfterAckMs = rounded(now() - ackedAtMs);
  const { status, error, body = "", ms } = await caller.request({ url: serviceUrl });
  const said = `${error ?? body.trim().slice(0, 200)} after ${rounded(ms)} ms`;
  return { kind, status: status ?? error ?? "nothing", inTime: isCurrent(), said, askedAfterAckMs };
}

function report({ writes, turns }: Run, { client, gateway }: AckListener): BenchResult {
  const wanted = (turn: Turn) => (turn.kind === "open" ? 200 : 503);
  const wrong = turns.filter((turn) => turn.inTime && turn.status !== wanted(turn));
  const measured = delaysMs(writes, client).filter((delay) => delay !== undefined);
  const p99 = rounded(quantile(measured, 0.99));
  const sent = writes.map(({ state, sentAtMs }) => ({ state, sentAtMs, answeredAtMs: sentAtMs }));
  const figures = {
    ...spread(measured),
    n: measured.length,
    max_ms: rounded(Math.max(...measured)),
    turns: writes.filter(({ step }) => step.kind !== "weight").length,
    turns_confirmed: turns.filter(({ inTime }) => inTime).length,
    turns_contradicted: wrong,
    acks: client.length,
    written_per_s: rounded(
      ((writes.length - 1) * 1000) / ((writes.at(-1)?.sentAtMs ?? 0) - (writes[0]?.sentAtMs ?? 0)),
    ),
    // the same from the moment the request went out, and the part of it that stays in west
    from_request: spread(delaysMs(sent, client).filter((delay) => delay !== undefined)),
    to_west_gateway: spread(delaysMs(writes, gateway).filter((delay) => delay !== undefined)),
  };
  return {
    figures,
    bars: [
      atMost("propagation p99", p99, BAR_MS, "ms"),
      atMost("requests whose answer contradicts the ACK before them:", wrong.length, 0, "of 20"),
    ],
  };
}

function spread(values: readonly number[]): { readonly p50_ms: number; readonly p99_ms: number } {
  return { p50_ms: rounded(quantile(values, 0.5)), p99_ms: rounded(quantile(values, 0.99)) };
}
