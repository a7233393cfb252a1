// A fleet under load while its root is rotated: calls between all three members over HTTP, and TCP connections that are each
// made anew, so that every second of the rotation sees fresh handshakes and not only connections from before. Used by bench
// and end-to-end rows.
import { importUrl, untilStatus } from "./asking.ts";
import type { FleetStage, Scene } from "./fleet-under-test.ts";
import { until } from "./until.ts";
import { httpRouteGroup, serviceExport, TCP_PORT, tcpRoute, trafficTarget, workload } from "./workload.ts";
import type { Caller, LoadResult } from "../traffic/caller.ts";

/** Of three members: the first calls the other two, the second calls the first. */
const [east, west, north] = ["east", "west", "north"] as const;
const TCP_EVERY_MS = 200;
const memoryLimit = "512Mi";
const OVER_MS = 300_000;
/** A load is ended by a word; this is longer than any rotation here. */
const ENDLESS_S = 3_600;
/** Before and after: what the first and last moment of a rotation break would else be missed. */
const MARGIN_MS = 2_000;

export type Step = "prepared" | "trusted" | "signing" | "retiring" | "revoked" | "reverting";

/** `isthmus trust -o json`, as far as it is read here. */
export interface Trust {
  readonly roots: readonly { readonly id: string; readonly state: string; readonly kind: string }[];
  readonly members: readonly {
    readonly agents: readonly {
      readonly proxies: number;
      readonly roots: readonly Readonly<Record<string, unknown>>[];
    }[];
  }[];
  readonly rotation?: {
    readonly to: string;
    readonly step: Step;
    readonly blockers: readonly { readonly cluster: string; readonly reason: string; readonly away: boolean }[];
  };
  readonly lastRotation?: { readonly outcome: string };
}

export interface Traffic {
  readonly requests: number;
  readonly failed: number;
  /** Of the requests: TCP connections, each with handshakes of its own. */
  readonly handshakes: number;
  readonly slowestMs: number;
  /** Some of the failures, for whoever looks for the cause. */
  readonly said: readonly string[];
}

export interface RotationStage {
  trust(): Promise<Trust>;
  isthmus(...words: readonly string[]): Promise<string>;
  /** Until the rotation is in this step and nobody but an operator holds it there. */
  untilHeldIn(step: Step): Promise<void>;
  /** Until no rotation runs; how the last one ended. */
  untilOver(): Promise<string>;
  /** The traffic while `work` runs, and a little before and after. */
  during(work: () => Promise<unknown>): Promise<Traffic>;
  close(): Promise<void>;
}

export async function openRotationStage(fleet: FleetStage, namespace: string, rps: number): Promise<RotationStage> {
  const scene = await fleet.openScene(namespace, fleet.members);
  await deploy(scene);
  const callers = await openCallers(scene);
  const data = ["--data", fleet.hub.dataDir];
  const isthmus = (...words: readonly string[]) => fleet.product.isthmus([...words, ...data]);
  const trust = async () => JSON.parse(await isthmus("trust", "-o", "json")) as Trust;
  return {
    trust,
    isthmus,
    untilHeldIn: async (step) => {
      await until(`the rotation to be held in step ${step}`, OVER_MS, async () => {
        const { rotation } = await trust();
        return rotation?.step === step && rotation.blockers.every(({ reason }) => reason.includes("operator holds"));
      });
    },
    untilOver: () =>
      until("the rotation to be over", OVER_MS, async () => {
        const { rotation, lastRotation } = await trust();
        return rotation === undefined && (lastRotation?.outcome ?? "none");
      }),
    during: (work) => traffic(callers, rps, work),
    close: () => scene.close(),
  };
}

async function deploy(scene: Scene): Promise<void> {
  const { namespace, image } = scene;
  const served = (name: string, from: string, sourceClusters: string) => [
    ...workload({ namespace, name, image, tcp: "echo" }),
    serviceExport(namespace, name),
    httpRouteGroup(namespace, name, [{ name: "all" }]),
    tcpRoute(namespace, `${name}-raw`, [TCP_PORT]),
    ...(["HTTPRouteGroup", "TCPRoute"] as const).map((kind) =>
      trafficTarget({
        ...{ namespace, name: `${name}-${kind.toLowerCase()}`, to: name, from: [from], sourceClusters },
        rule: { kind, name: kind === "TCPRoute" ? `${name}-raw` : name },
      }),
    ),
  ];
  await Promise.all([
    scene.apply(west, [
      ...served("server", "client", east),
      ...workload({ namespace, name: "caller", image, memoryLimit }),
    ]),
    scene.apply(north, served("server", "client", east)),
    scene.apply(east, [
      ...served("back", "caller", west),
      ...workload({ namespace, name: "client", image, memoryLimit }),
    ]),
  ]);
  await Promise.all([east, west, north].map((member) => scene.ready(member)));
}

interface Callers {
  /** In east. */
  readonly out: Caller;
  /** In west. */
  readonly back: Caller;
  readonly outUrl: string;
  readonly backUrl: string;
  readonly tcpHost: string;
}

async function openCallers(scene: Scene): Promise<Callers> {
  const { namespace } = scene;
  const [out, back] = await Promise.all([scene.caller(east, "client"), scene.caller(west, "caller")]);
  const [outUrl, backUrl] = [importUrl("server", namespace), importUrl("back", namespace)];
  const tcpHost = `server.${namespace}.svc.clusterset.local`;
  await untilStatus(out, outUrl, 200);
  await untilStatus(back, backUrl, 200);
  const seen = new Set<string | undefined>();
  await until("answers from west and north", 60_000, async () => {
    seen.add((await out.request({ url: outUrl })).headers?.["x-shop-cluster"]);
    return seen.has(west) && seen.has(north);
  });
  const echo = () => out.tcp({ host: tcpHost, port: TCP_PORT, text: "ping\n", bytes: 4 });
  await until("an echo over TCP", 60_000, async () => (await echo()).end === "received");
  return { out, back, outUrl, backUrl, tcpHost };
}

async function traffic(callers: Callers, rps: number, work: () => Promise<unknown>): Promise<Traffic> {
  const { out, back, outUrl, backUrl } = callers;
  const outRps = Math.round(rps * 0.6);
  const loads = [
    out.load({ url: outUrl, rps: outRps, seconds: ENDLESS_S }),
    back.load({ url: backUrl, rps: rps - outRps - 1000 / TCP_EVERY_MS, seconds: ENDLESS_S }),
  ];
  const connections = connectAnew(callers);
  const worked = async () => {
    await pause(MARGIN_MS);
    await work();
    await pause(MARGIN_MS);
  };
  // a caller that dies is the end of the measurement, not something to be heard of when the work is over
  const died = Promise.all(loads).then(() => new Promise<never>(() => undefined));
  try {
    await Promise.race([worked(), died]);
  } finally {
    await Promise.allSettled([out.stop(), back.stop(), connections.stop()]);
  }
  const [results, tcp] = await Promise.all([Promise.all(loads), connections.stop()]);
  const said = [...results.flatMap(({ failures }) => failures.map((each) => JSON.stringify(each))), ...tcp.said];
  return {
    requests: sum(results, ({ requests }) => requests) + tcp.requests,
    failed: sum(results, ({ failed }) => failed) + tcp.failed,
    handshakes: tcp.requests,
    slowestMs: Math.round(Math.max(...results.map(({ slowestMs }) => slowestMs))),
    said: said.slice(0, 10),
  };
}

function sum(results: readonly LoadResult[], read: (result: LoadResult) => number): number {
  return results.reduce((total, result) => total + read(result), 0);
}

/** One connection after the other, on schedule whether or not the one before was answered. */
function connectAnew({ out, tcpHost }: Callers) {
  const result = { requests: 0, failed: 0, said: [] as string[] };
  const pending = new Set<Promise<void>>();
  const one = async () => {
    const { received, end, ms } = await out.tcp({ host: tcpHost, port: TCP_PORT, text: "ping\n", bytes: 4 });
    result.requests += 1;
    if (end === "received" && received.startsWith("ping")) return;
    result.failed += 1;
    result.said.push(`tcp at ${new Date().toISOString()}: ${end} after ${Math.round(ms)} ms`);
  };
  const lost = (error: unknown) => {
    result.failed += 1;
    result.said.push(`tcp at ${new Date().toISOString()}: ${String(error)}`);
  };
  const timer = setInterval(() => {
    const job = one()
      .catch(lost)
      .finally(() => pending.delete(job));
    pending.add(job);
  }, TCP_EVERY_MS);
  return {
    stop: async () => {
      clearInterval(timer);
      await Promise.all(pending);
      return result;
    },
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
