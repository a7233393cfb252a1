// Bench `policy`: one TrafficTarget changes in a mesh of 1,000 services; how long until the last sidecar that it concerns has
// acknowledged, what that costs the agent, and what everybody else is sent, which must be nothing. The agent's own way, from the
// inputs on: buildIr, translate, encode, ADS over TLS. Clients are in another process; no root, no cluster, no Envoy.
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSwappableCredentials } from "../../agent/ads/credentials.ts";
import type { AdsStream } from "../../agent/ads/stream.ts";
import { ownGround } from "../../shared/testing/ground.ts";
import { randomOf } from "../../shared/testing/random.ts";
import { selectExports } from "../../agent/ir/exports.ts";
import type { MeshInputs } from "../../agent/ir/inputs.ts";
import { createMesh, type Mesh } from "../../agent/mesh.ts";
import { createAgentMetrics } from "../../agent/metrics.ts";
import { nextBatch } from "../../agent/xds/order.ts";
import { resourceTypes } from "../../agent/xds/resource.ts";
import { testFleet } from "../../agent/xds/testing/certificates.ts";
import { systemClock } from "../../shared/clock.ts";
import { jsonLog } from "../../shared/log.ts";
import { ok } from "../../shared/result.ts";
import { atMost, type Bench, type BenchContext, type BenchResult } from "./bench.ts";
import type { ClientsCount, ClientsOrder } from "./policy-clients.ts";
import {
  changesOf,
  gatewayAccount,
  gatewayPod,
  largeMesh,
  SERVICES,
  STREAMS,
  streamOwners,
  TARGETS,
  type Change,
  type ChangeKind,
} from "./policy-mesh.ts";
import { quantile, rounded } from "./quantile.ts";

const BAR_MS = 100;
const CHANGES = 400;
/** Compiled code is what is measured; an agent has run for longer than this. */
const WARM_UP = 50;
const SEED = 1;
/** A change that is not acknowledged by then is lost, not slow. */
const DEADLINE_MS = 10_000;
const CONNECT_MS = 60_000;
/** After the last change: what comes late is counted too. */
const QUIET_MS = 500;

export const policy: Bench = {
  name: "policy",
  about: `${CHANGES} changes of one TrafficTarget of ${TARGETS}, ${SERVICES} services, ${STREAMS} ADS streams: until the last ACK of those concerned`,
  bar: `p99 at most ${BAR_MS} ms, no byte to the others`,
  minutes: 1,
  needsRoot: false,
  run: measure,
};

interface Agent {
  readonly mesh: Mesh;
  readonly clients: ChildProcess;
  /** Another mesh from now on. */
  readonly change: (inputs: MeshInputs) => void;
  readonly close: () => Promise<void>;
}

async function startAgent(first: MeshInputs): Promise<Agent> {
  const dir = mkdtempSync(join(tmpdir(), "isthmus-policy-"));
  const svid = testFleet(dir, first.fleetDomain).svid(first.cluster, "isthmus-system", "isthmus-agent");
  const owners = new Map(streamOwners().map((owner) => [owner.pod, owner]));
  const expiresAtMs = Date.now() + 3_600_000;
  let inputs = first;
  const mesh = createMesh({
    inputs: () => inputs,
    // one certificate for all: what is signed when, is not what is measured
    issuer: { svidFor: () => Promise.resolve(svid), onChange: () => () => undefined },
    rootsPem: () => svid.rootsPem,
    onAnswers: () => undefined,
    authenticate: (token) => {
      const namespace = owners.get(token)?.namespace ?? "";
      const serviceAccount = token === gatewayPod ? gatewayAccount.serviceAccount : token.replace(/-1$/, "");
      return Promise.resolve(ok({ namespace, serviceAccount, podName: token, podUid: token, expiresAtMs }));
    },
    podLabel: true,
    gateway: gatewayAccount,
    // as the agent does after every push
    settled: (settled) => void selectExports(settled.inputs),
    fail: (error) => {
      throw error;
    },
    clock: systemClock,
    random: Math.random,
    log: jsonLog("error", (line) => process.stderr.write(`${line}\n`)),
    metrics: createAgentMetrics(),
  });
  mesh.pusher.changed();
  const port = await mesh.ads.listen(
    `127.0.0.1:${await (await ownGround()).port()}`,
    createSwappableCredentials({ ...svid, root: "bench" }).credentials,
  );
  const clients = fork(join(import.meta.dirname, "policy-clients.ts"), { execArgv: [] });
  const order: ClientsOrder = { open: streamOwners(), origin: `https://127.0.0.1:${port}` };
  clients.send(order);
  return {
    mesh,
    clients,
    change: (next) => {
      inputs = next;
      mesh.pusher.changed();
    },
    close: async () => {
      clients.kill("SIGKILL");
      await mesh.ads.close(0);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Nothing under way and nothing owed. */
function isSettled({ state, proxyClass }: AdsStream): boolean {
  const served = proxyClass?.served;
  return (
    served !== undefined &&
    state.types.lds.asked &&
    resourceTypes.every((type) => {
      const { asked, base, awaiting } = state.types[type];
      return !asked || (base === served.resources[type] && awaiting === undefined);
    }) &&
    nextBatch(state) === undefined
  );
}

function allSettled({ ads }: Mesh): boolean {
  const streams = ads.streams();
  return streams.length === STREAMS && streams.every(isSettled);
}

/** Resolves at the ACK after which `done` holds, with its time. */
function untilAcked(mesh: Mesh, done: (pod: string) => boolean, deadlineMs: number, what: () => string) {
  return new Promise<number>((resolve, reject) => {
    const timer = setTimeout(() => {
      stop();
      reject(new Error(`${what()} within ${deadlineMs} ms`));
    }, deadlineMs);
    const stop = mesh.onAck(({ peer }) => {
      const atMs = performance.now();
      // what the ACK makes due is found in the turn after it
      setImmediate(() => {
        if (!done(peer.podName)) return;
        clearTimeout(timer);
        stop();
        resolve(atMs);
      });
    });
  });
}

async function count(clients: ChildProcess): Promise<ClientsCount> {
  const order: ClientsOrder = { count: true };
  clients.send(order);
  const [answer] = (await once(clients, "message")) as [ClientsCount];
  return answer;
}

function bytesBeside(received: ClientsCount, affected: ReadonlySet<string>): number {
  return Object.entries(received).reduce((sum, [pod, bytes]) => sum + (affected.has(pod) ? 0 : bytes), 0);
}

interface Measured {
  readonly kind: ChangeKind;
  readonly ms: number;
  readonly cpuMs: number;
  readonly affected: number;
  readonly bytesUnaffected: number;
}

async function measureChange({ mesh, clients, change }: Agent, next: Change): Promise<Measured> {
  const left = new Set(next.affected);
  const done = (pod: string) => {
    left.delete(pod);
    return left.size === 0 && allSettled(mesh);
  };
  const missing = () => `${next.kind}: no ACK of ${[...left].join(", ")}`;
  const acked = untilAcked(mesh, done, DEADLINE_MS, missing);
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  change(next.inputs);
  const ms = (await acked) - startMs;
  const { user, system } = process.cpuUsage(cpu);
  const bytesUnaffected = bytesBeside(await count(clients), next.affected);
  return { kind: next.kind, ms, cpuMs: (user + system) / 1000, affected: next.affected.size, bytesUnaffected };
}

async function measure({ progress, signal }: BenchContext): Promise<BenchResult> {
  const random = randomOf(SEED);
  const first = largeMesh(random);
  const agent = await startAgent(first);
  try {
    await progress.step(`${STREAMS} streams have their configuration`, () =>
      untilAcked(
        agent.mesh,
        () => allSettled(agent.mesh),
        CONNECT_MS,
        () => "not every stream has its configuration",
      ),
    );
    await count(agent.clients);
    const changes = changesOf(first, random);
    const take = async (number: number) => {
      const measured: Measured[] = [];
      for (let index = 0; index < number; index += 1) {
        signal.throwIfAborted();
        measured.push(await measureChange(agent, changes.next().value));
      }
      return measured;
    };
    await progress.step(`${WARM_UP} changes to warm up`, () => take(WARM_UP));
    const measured = await progress.step(`${CHANGES} changes`, () => take(CHANGES));
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    return result(measured, bytesBeside(await count(agent.clients), new Set()));
  } finally {
    await agent.close();
  }
}

function result(measured: readonly Measured[], bytesLate: number): BenchResult {
  const quantileMs = (list: readonly Measured[], q: number) =>
    rounded(
      quantile(
        list.map(({ ms }) => ms),
        q,
      ),
    );
  const mean = (list: readonly number[]) => list.reduce((sum, each) => sum + each, 0) / list.length;
  const byKind = Map.groupBy(measured, ({ kind }) => kind);
  const figures = {
    services: SERVICES,
    targets: TARGETS,
    streams: STREAMS,
    changes: measured.length,
    streams_affected: rounded(mean(measured.map(({ affected }) => affected))),
    p50_ms: quantileMs(measured, 0.5),
    p99_ms: quantileMs(measured, 0.99),
    max_ms: quantileMs(measured, 1),
    cpu_ms_per_change: rounded(mean(measured.map(({ cpuMs }) => cpuMs))),
    bytes_unaffected: measured.reduce((sum, each) => sum + each.bytesUnaffected, bytesLate),
    p99_ms_by_change: Object.fromEntries([...byKind].map(([kind, list]) => [kind, quantileMs(list, 0.99)])),
  };
  return {
    figures,
    bars: [
      atMost("p99 from a changed TrafficTarget to the last ACK", figures.p99_ms, BAR_MS, "ms"),
      atMost("bytes to streams that are not concerned", figures.bytes_unaffected, 0, "B"),
    ],
  };
}
