// A member is cut off (`isthmus revoke`) while it and another member call the same servers in a third one: by HTTP, gRPC,
// WebSocket and TCP, on connections that are open and on new ones. What both notice, and when. For the end-to-end table and
// the bench `revoke`.
import type { Caller, HeldKind, HeldState, LoadResult } from "../traffic/caller.ts";
import { untilStatus } from "./asking.ts";
import type { FleetStage, Scene } from "./fleet-under-test.ts";
import { until } from "./until.ts";
import { GRPC_PORT, HTTP_PORT, serviceExport, TCP_PORT, tcpRoute, trafficTarget, workload } from "./workload.ts";

const REVOKED = "east";
const OTHER = "north";
const SERVING = "west";
const members = [REVOKED, OTHER, SERVING] as const;

const RPS = 50;
/** How long new connections are still tried after the command: the bar, and a second more. */
const TRY_NEW_MS = 6_000;
const CLOSED_MS = 45_000;
const LOAD_SECONDS = 40;
const kinds: readonly HeldKind[] = ["http", "grpc", "websocket", "tcp"];
const portOf: Readonly<Record<HeldKind, number>> = {
  http: HTTP_PORT,
  websocket: HTTP_PORT,
  grpc: GRPC_PORT,
  tcp: TCP_PORT,
};

export interface CutOffResult {
  /** From the start of the command to the last new connection, or request, of the revoked member that was answered. */
  readonly newRefusedMs: number;
  /** From the start of the command to the end of each connection that was open. */
  readonly closedMs: Readonly<Record<HeldKind, number>>;
  /** Of the other member: requests that failed, and connections that ended. */
  readonly othersFailed: number;
  readonly othersRequests: number;
  readonly othersSaid: readonly string[];
}

export interface CutOff {
  revoke(): Promise<CutOffResult>;
  /** Trusts it again; resolves when its calls are answered, with the time that took. */
  reinstate(): Promise<number>;
  close(): Promise<void>;
}

export async function openCutOff(fleet: FleetStage, namespace: string): Promise<CutOff> {
  const scene = await fleet.openScene(namespace, members);
  await deploy(scene);
  const [revoked, other] = await Promise.all([scene.caller(REVOKED, "client"), scene.caller(OTHER, "client")]);
  const host = `server.${namespace}.svc.clusterset.local`;
  const url = `http://${host}:${HTTP_PORT}/`;
  await Promise.all([revoked, other].map((caller) => untilStatus(caller, url, 200)));
  const command = (...more: readonly string[]) =>
    fleet.product.isthmus(["revoke", REVOKED, ...more, "--data", fleet.hub.dataDir]);
  const target: Target = { host, url };
  return {
    revoke: async () => {
      await Promise.all([holdAll(revoked, target), holdAll(other, target)]);
      const load = other.load({ url, rps: RPS, seconds: LOAD_SECONDS });
      const startedAtMs = Date.now();
      const cut = { target, startedAtMs };
      const [lastNewAtMs] = await Promise.all([lastAnswerOfNew(revoked, cut), command()]);
      const closedMs = await closedTimes(revoked, startedAtMs);
      await other.stop();
      const others = await whatOthersNoticed(other, await load);
      await Promise.all(kinds.map((kind) => other.letGo(kind)));
      return { newRefusedMs: Math.max(0, lastNewAtMs - startedAtMs), closedMs, ...others };
    },
    reinstate: async () => {
      const startedAtMs = Date.now();
      await command("--undo");
      await untilStatus(revoked, url, 200, 60_000);
      await until("TCP of the member to be taken again", 30_000, async () => isAnswered(await callTcp(revoked, host)));
      return Date.now() - startedAtMs;
    },
    close: () => scene.close(),
  };
}

async function deploy(scene: Scene): Promise<void> {
  const { namespace, image } = scene;
  const rule = { kind: "TCPRoute", name: "all" } as const;
  const sourceClusters = [REVOKED, OTHER].join(",");
  await scene.apply(SERVING, [
    ...workload({ namespace, name: "server", image, tcp: "echo", grpc: true }),
    serviceExport(namespace, "server"),
    tcpRoute(namespace, "all", [HTTP_PORT, TCP_PORT, GRPC_PORT]),
    trafficTarget({ namespace, name: "server", to: "server", from: ["client"], sourceClusters, rule }),
  ]);
  await Promise.all(
    [REVOKED, OTHER].map((member) => scene.apply(member, workload({ namespace, name: "client", image }))),
  );
  await Promise.all(members.map((member) => scene.ready(member)));
}

interface Target {
  readonly host: string;
  readonly url: string;
}

/** Each import gets its listeners in its own time, so a connection that ends at once is opened again. */
async function holdAll(caller: Caller, { host }: Target): Promise<void> {
  await Promise.all(
    kinds.map((kind) =>
      until(`an open ${kind} connection`, 45_000, async () => {
        const { end } = await caller.hold({ name: kind, kind, host, port: portOf[kind] });
        return end === undefined;
      }),
    ),
  );
}

interface Cut {
  readonly target: Target;
  readonly startedAtMs: number;
}

/** New connections again and again until well after the command; when the last one was answered (ms since 1970). */
async function lastAnswerOfNew(caller: Caller, { target: { host, url }, startedAtMs }: Cut): Promise<number> {
  let lastAtMs = startedAtMs;
  while (Date.now() < startedAtMs + TRY_NEW_MS || Date.now() < lastAtMs + TRY_NEW_MS) {
    const [{ status }, tcp] = await Promise.all([caller.request({ url, timeoutMs: 2_000 }), callTcp(caller, host)]);
    if (status === 200 || isAnswered(tcp)) lastAtMs = Date.now();
    if (lastAtMs > startedAtMs + CLOSED_MS) throw new Error("new connections are still taken");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return lastAtMs;
}

function callTcp(caller: Caller, host: string) {
  return caller.tcp({ host, port: TCP_PORT, text: "ping\n", bytes: 4, timeoutMs: 2_000 });
}

function isAnswered({ end }: { readonly end: string }): boolean {
  return end === "received";
}

async function closedTimes(caller: Caller, startedAtMs: number): Promise<Readonly<Record<HeldKind, number>>> {
  const entries = await Promise.all(
    kinds.map(async (kind) => {
      const { endedAtMs } = await until(`the open ${kind} connection to end`, CLOSED_MS, async () => {
        const state = await caller.held(kind);
        return state.end !== undefined && state;
      });
      return [kind, (endedAtMs ?? 0) - startedAtMs] as const;
    }),
  );
  return Object.fromEntries(entries) as Record<HeldKind, number>;
}

async function whatOthersNoticed(caller: Caller, { failed, requests, failures }: LoadResult) {
  const states: readonly HeldState[] = await Promise.all(kinds.map((kind) => caller.held(kind)));
  const ended = states.filter(({ end }) => end !== undefined);
  return {
    othersFailed: failed + ended.length,
    othersRequests: requests,
    othersSaid: [
      ...failures.slice(0, 3).map(({ key, body = "" }) => `${key} ${body}`),
      ...ended.map(({ kind, end = "" }) => `${kind}: ${end}`),
    ],
  };
}
