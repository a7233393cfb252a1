// A row of the SMI table: one sentence that a user would accept, and how it is played on the stage of its area.
import type { Scene } from "../../stage/fleet-under-test.ts";
import type { RunnersFleet } from "../../stage/runners-fleet.ts";
import type { Answer, Caller } from "../../traffic/caller.ts";
import { until } from "../../stage/until.ts";

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
