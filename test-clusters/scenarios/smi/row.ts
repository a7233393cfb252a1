// A row of the SMI table: one sentence that a user would accept, and how it is played on the stage of its area.
import { expect } from "vitest";
import type { Scene } from "../../stage/fleet-under-test.ts";
import type { RunnersFleet } from "../../stage/runners-fleet.ts";
import type { Answer, Caller } from "../../traffic/caller.ts";
import { until } from "../../stage/until.ts";
import { GRPC_PORT, TCP_PORT } from "../../stage/workload.ts";

/** The rows of an area share workloads, in a namespace of their own, and run one after the other; areas run side by side. */
export interface Area {
  /** Reads as the subject of its rows. */
  readonly name: string;
  readonly namespace: string;
  readonly members: readonly string[];
  readonly deploy: (scene: Scene) => Promise<void>;
  readonly rows: readonly Row[];
}

export interface Row {
  readonly name: string;
  readonly play: (stage: AreaStage) => Promise<void>;
}

export interface AreaStage {
  readonly fleet: RunnersFleet;
  readonly scene: Scene;
  /** The same caller again for a workload that was asked for before. */
  readonly caller: (member: string, workload: string) => Promise<Caller>;
}

/** How many of `count` requests each service answered; what is no 200 counts under its status or error. */
export async function answersOf(
  caller: Caller,
  url: string,
  count: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<Readonly<Record<string, number>>> {
  const tally: Record<string, number> = {};
  const ask = async (connection: string, times: number) => {
    for (let time = 0; time < times; time += 1) {
      const answer = await caller.request({ url, connection, headers });
      const by = answeredBy(answer);
      tally[by] = (tally[by] ?? 0) + 1;
    }
  };
  const connections = ["a", "b", "c", "d"];
  await Promise.all(connections.map((connection) => ask(connection, Math.ceil(count / connections.length))));
  return tally;
}

export function answeredBy({ status, headers, error }: Answer): string {
  return status === 200 ? (headers?.["x-shop-service"] ?? "unknown") : (error ?? String(status));
}

/** Who answered so many gRPC calls, one after the other on one connection. */
export async function rpcAnswersOf(
  caller: Caller,
  host: string,
  count: number,
): Promise<Readonly<Record<string, number>>> {
  const tally: Record<string, number> = {};
  const call = { host, port: GRPC_PORT, path: "/shop.Echo/Say", connection: "calls" };
  for (let calls = 0; calls < count; calls += 1) {
    const { service = "unknown", grpcStatus, error } = await caller.rpc(call);
    const by = grpcStatus === 0 ? service : (error ?? `status ${String(grpcStatus)}`);
    tally[by] = (tally[by] ?? 0) + 1;
  }
  return tally;
}

/** Asks until those services answer and nobody else does. */
export async function untilAnsweredBy(caller: Caller, url: string, ...services: readonly string[]): Promise<void> {
  let last: Readonly<Record<string, number>> = {};
  const wanted = [...services].sort().join(" ");
  await until(`answers of ${wanted} alone from ${url}`, 30_000, async () => {
    last = await answersOf(caller, url, 16);
    return Object.keys(last).sort().join(" ") === wanted;
  }).catch((cause: unknown) => {
    throw new Error(`last: ${JSON.stringify(last)}`, { cause });
  });
}

/** How an open connection ends that is taken away. */
export const closed = /^(closed|ECONNRESET)$/;

/** How a new one ends that is refused; on a bound sidecar nobody listens then. A hang or a name that nobody knows is no refusal. */
export const refused = /^(closed|ECONNRESET|ECONNREFUSED)$/;

/** How an echo on the raw TCP port ends: "received" where it is carried. */
export async function rawTcpEnd(caller: Caller, host: string): Promise<string> {
  return (await caller.tcp({ host, port: TCP_PORT, text: "ping\n", bytes: 4 })).end;
}

export async function untilRawTcp(caller: Caller, host: string, wanted: "carried" | "refused"): Promise<void> {
  let last = "";
  await until(`raw TCP to be ${wanted}`, 30_000, async () => {
    last = await rawTcpEnd(caller, host);
    return wanted === "carried" ? last === "received" : refused.test(last);
  }).catch((cause: unknown) => {
    throw new Error(`raw TCP ended last with: ${last}`, { cause });
  });
}

/** A load is ended by a word; this is longer than any row. */
const ENDLESS_S = 3_600;

/** Makes 100 requests a second while `work` changes things; none may fail. Each step takes at least ten more of them. */
export async function underLoad(
  caller: Caller,
  { url, what }: { readonly url: string; readonly what: string },
  work: (usedToo: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const load = caller.load({ url, rps: 100, seconds: ENDLESS_S });
  let steps = 0;
  try {
    await work(async () => {
      steps += 1;
      await caller.moreAnswers(10);
    });
  } finally {
    await caller.stop();
  }
  const { requests, failed, failures } = await load;
  process.stdout.write(`${what} under load: ${failed} of ${requests} requests failed\n`);
  expect(failures).toEqual([]);
  expect(requests).toBeGreaterThanOrEqual(10 * steps);
}
