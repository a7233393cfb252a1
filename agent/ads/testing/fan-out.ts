// What one push to many streams costs, and what an idle stream weighs: the server in this process, the clients in another.
// Called by the bench and by `node agent/ads/testing/fan-out.ts [streams] [services] [tls]`. Figures are of this machine and
// this moment: compare ratios taken in one run.
import { ServerCredentials } from "@grpc/grpc-js";
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { ownGround } from "../../../shared/testing/ground.ts";
import { testFleet } from "../../xds/testing/certificates.ts";
import { createSwappableCredentials } from "../credentials.ts";
import { startAgent, classKey, type TestAgent } from "./agent.ts";
import type { ClientsOrder, ClientsReport } from "./fan-out-clients.ts";
import { aMesh, anAssignment, aSnapshot, nameOf, type Lists } from "./resources.ts";

export interface FanOutOptions {
  readonly streams: number;
  readonly services: number;
  readonly endpointsPerService?: number;
  readonly tls?: boolean;
  readonly rounds?: number;
}

export interface FanOutFigures {
  readonly streams: number;
  readonly services: number;
  /** From publish to the arrival at the first, the median, the 99th percentile and the last client; medians over rounds. */
  readonly firstMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly lastMs: number;
  readonly serverCpuUsPerStream: number;
  readonly bytesPerStream: number;
  /** Resident memory per stream, from the tenth of the streams to all of them. */
  readonly kibPerIdleStream: number;
  /** The part of it that is JavaScript's: heap and buffers after a collection. */
  readonly heapKibPerIdleStream: number;
  /** Until the other nine tenths of the clients have everything. */
  readonly connectMs: number;
}

export async function measureFanOut(options: FanOutOptions): Promise<FanOutFigures> {
  const { streams, services, endpointsPerService = 10, tls = false, rounds = 7 } = options;
  const names = Array.from({ length: services }, (_, index) => `service-${index}`);
  const ports = Array.from({ length: endpointsPerService }, (_, index) => 1000 + index);
  const mesh: Lists = { ...aMesh(names), eds: names.map((name) => anAssignment(name, ports)) };
  const dir = mkdtempSync(join(tmpdir(), "isthmus-fan-out-"));
  let agent: TestAgent | undefined;
  let sentBytes = 0;
  const clients = fork(join(import.meta.dirname, "fan-out-clients.ts"), { execArgv: [] });
  try {
    agent = await startAgent(credentialsOf(dir, tls), {
      port: await (await ownGround()).port(),
      taps: { onSent: (event) => (sentBytes += event.bytes) },
      onClass: ({ wanted }) => {
        if (wanted) setImmediate(() => agent?.server.publish(classKey, aSnapshot(mesh)));
      },
    });
    agent.server.open();
    const origin = `${tls ? "https" : "http"}://127.0.0.1:${agent.port}`;
    const subscriptions = { cds: [], eds: names, lds: [], rds: ["routes"] };
    const order = (from: number, to: number): ClientsOrder => ({ origin, from, to, subscriptions });
    const few = Math.ceil(streams / 10);
    await ask(clients, order(0, few));
    const before = await idleMemoryKib();
    const start = performance.now();
    await ask(clients, order(few, streams));
    const connectMs = performance.now() - start;
    const after = await idleMemoryKib();
    const kibPerIdleStream = (after.resident - before.resident) / (streams - few);
    const heapKibPerIdleStream = (after.heap - before.heap) / (streams - few);
    const pushes = await push(agent, clients, { mesh, ports, rounds, sent: () => sentBytes });
    return { streams, services, ...summary(pushes, streams), kibPerIdleStream, heapKibPerIdleStream, connectMs };
  } finally {
    clients.kill("SIGKILL");
    await agent?.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

function credentialsOf(dir: string, tls: boolean): ServerCredentials {
  if (!tls) return ServerCredentials.createInsecure();
  const identity = testFleet(dir, "acme.mesh").svid("east", "isthmus-system", "isthmus-agent");
  return createSwappableCredentials({ ...identity, root: "test" }).credentials;
}

async function ask(clients: ChildProcess, order: ClientsOrder): Promise<void> {
  clients.send(order);
  await once(clients, "message");
}

interface Push {
  /** Sorted. */
  readonly delaysMs: readonly number[];
  readonly cpuUs: number;
  readonly bytes: number;
}

interface Rounds {
  readonly mesh: Lists;
  readonly ports: readonly number[];
  readonly rounds: number;
  /** Bytes of all responses so far. */
  readonly sent: () => number;
}

async function push(
  agent: TestAgent,
  clients: ChildProcess,
  { mesh, ports, rounds, sent }: Rounds,
): Promise<readonly Push[]> {
  const pushes: Push[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const [first, ...others] = mesh.eds ?? [];
    const changed = anAssignment(nameOf(first ?? {}), [...ports, 2000 + round]);
    const snapshot = aSnapshot({ ...mesh, eds: [changed, ...others] });
    const sentBefore = sent();
    const arrived = once(clients, "message");
    const cpu = process.cpuUsage();
    const start = performance.timeOrigin + performance.now();
    agent.server.publish(classKey, snapshot);
    const [report] = (await arrived) as [ClientsReport];
    const { user, system } = process.cpuUsage(cpu);
    if (!("receivedAtMs" in report)) throw new Error("the clients did not report arrivals");
    const delaysMs = report.receivedAtMs.map((at) => at - start).sort((a, b) => a - b);
    pushes.push({ delaysMs, cpuUs: user + system, bytes: sent() - sentBefore });
  }
  return pushes;
}

function summary(pushes: readonly Push[], streams: number) {
  const medianOf = (value: (push: Push) => number) => {
    const sorted = pushes.map(value).sort((a, b) => a - b);
    return sorted[sorted.length >> 1] ?? Number.NaN;
  };
  const at = (share: number) =>
    medianOf((one) => one.delaysMs[Math.min(streams - 1, Math.floor(streams * share))] ?? NaN);
  return {
    firstMs: at(0),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    lastMs: at(1),
    serverCpuUsPerStream: medianOf((one) => one.cpuUs) / streams,
    bytesPerStream: medianOf((one) => one.bytes) / streams,
  };
}

/** After the shared responses of the last push were let go (cache.ts), which belong to no stream. */
async function idleMemoryKib(): Promise<{ readonly resident: number; readonly heap: number }> {
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (let round = 0; round < 3; round += 1) collect();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { resident: rss / 1024, heap: (heapUsed + external) / 1024 };
}

if (import.meta.main) {
  const [streams = "1000", services = "100", mode = ""] = process.argv.slice(2);
  const figures = await measureFanOut({ streams: Number(streams), services: Number(services), tls: mode === "tls" });
  process.stdout.write(`${JSON.stringify(figures, undefined, 2)}\n`);
}
