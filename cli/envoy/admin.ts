// Envoy's admin interface on its Unix socket: readiness, draining, counters. The socket's folder is the access control.
import { request } from "node:http";

/** The admin thread answers in a millisecond; one that does not is as good as gone. */
const ANSWER_MS = 2000;

export interface AdminAnswer {
  readonly status: number;
  readonly body: string;
}

/** Undefined when nobody answers: Envoy is not there yet, or no more. */
export function askAdmin(socketPath: string, method: "GET" | "POST", path: string): Promise<AdminAnswer | undefined> {
  return new Promise((resolve) => {
    const call = request({ socketPath, method, path, timeout: ANSWER_MS, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") }),
      );
      response.on("error", () => resolve(undefined));
    });
    call.on("timeout", () => call.destroy());
    call.on("error", () => resolve(undefined));
    call.end();
  });
}

/**
 * Every listener and cluster of the first configuration is there, and the listeners listen: Envoy says that it is live a moment before
 * its workers do (a program that started at once was refused by its own proxy).
 */
export async function isReady(socketPath: string): Promise<boolean> {
  if ((await askAdmin(socketPath, "GET", "/ready"))?.status !== 200) return false;
  const name = "listener_manager.workers_started";
  return (await statistics(socketPath, `^${name.replaceAll(".", "\\.")}$`))?.get(name) === 1;
}

/** Tells callers to go elsewhere (GOAWAY, `connection: close`); calls out go on, for the application still answers. */
export async function startDraining(socketPath: string): Promise<void> {
  await askAdmin(socketPath, "POST", "/drain_listeners?graceful&inboundonly&skip_exit");
}

/**
 * Calls of others that are being answered: HTTP requests, and connections that are not HTTP. An idle HTTP connection is not one: its
 * caller may keep it for ever. Undefined when Envoy does not answer.
 */
export async function callsTaken(socketPath: string): Promise<number | undefined> {
  const stats = await statistics(socketPath, "^(listener|http)\\..*\\.downstream_(cx|rq)_active$");
  return stats && countCalls(stats);
}

/** Open connections to the listeners of this statistics prefix; undefined when Envoy does not answer. */
export async function connectionsOf(socketPath: string, prefix: string): Promise<number | undefined> {
  const name = `listener.${prefix}.downstream_cx_active`;
  const stats = await statistics(socketPath, `^${name.replaceAll(".", "\\.")}$`);
  return stats && (stats.get(name) ?? 0);
}

async function statistics(socketPath: string, pattern: string): Promise<ReadonlyMap<string, number> | undefined> {
  const answer = await askAdmin(socketPath, "GET", `/stats?format=json&filter=${encodeURIComponent(pattern)}`);
  if (answer?.status !== 200) return undefined;
  const { stats } = JSON.parse(answer.body) as {
    readonly stats: readonly { readonly name?: string; readonly value?: number }[];
  };
  return new Map(stats.map(({ name = "", value = 0 }) => [name, value]));
}

/** Names as agent/xds/inbound.ts gives them. Pure. */
export function countCalls(stats: ReadonlyMap<string, number>): number {
  const sum = (unit: string) =>
    ["http.inbound", "http.inbound-plaintext"].reduce((all, name) => all + (stats.get(`${name}.${unit}`) ?? 0), 0);
  const connections = stats.get("listener.inbound.downstream_cx_active") ?? 0;
  return sum("downstream_rq_active") + Math.max(0, connections - sum("downstream_cx_active"));
}
