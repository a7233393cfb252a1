// What is open when a grant changes. HTTP is judged when a request starts, so a stream or a WebSocket outlives a narrower match; what
// closes it is that its caller may call the service no more, whose chain then goes from the caller's sidecar.
import { expect } from "vitest";
import { until } from "../../stage/until.ts";
import { GRPC_PORT, HTTP_PORT, TCP_PORT } from "../../stage/workload.ts";
import type { Caller, HeldKind } from "../../traffic/caller.ts";
import { closed, type AreaStage, type Row } from "./row.ts";
import { only } from "./targets.ts";

const ports: Readonly<Record<HeldKind, number>> = {
  http: HTTP_PORT,
  websocket: HTTP_PORT,
  grpc: GRPC_PORT,
  tcp: TCP_PORT,
};

/** With its connection, or alone. */
const streamClosed = /^(closed|ECONNRESET|ERR_HTTP2_STREAM_ERROR)$/;

const hostIn = ({ scene }: AreaStage) => `server.${scene.namespace}`;

async function open(caller: Caller, host: string, kinds: readonly HeldKind[]): Promise<void> {
  for (const kind of kinds)
    await until(`an open ${kind} connection`, 30_000, async () => {
      const { end } = await caller.hold({ name: kind, kind, host, port: ports[kind] });
      return end === undefined;
    });
}

/** Another call on the connection of the stream that is held. */
async function callBeside(caller: Caller, host: string): Promise<number | undefined> {
  return (await caller.rpc({ host, port: GRPC_PORT, path: "/shop.Echo/Say", connection: "grpc" })).grpcStatus;
}

async function isHeardOn(caller: Caller, kind: HeldKind): Promise<void> {
  const sinceMs = Date.now();
  await until(`the open ${kind} connection to be heard`, 10_000, async () => {
    const { end, lastHeardAtMs } = await caller.held(kind);
    expect([kind, end]).toEqual([kind, undefined]);
    return lastHeardAtMs > sinceMs;
  });
}

export const openExchangeRows: readonly Row[] = [
  {
    name: "that is narrowed refuses the next request, on the connection of an open gRPC stream too, and leaves open what is open",
    play: async (stage) => {
      const caller = await stage.caller("east", "client");
      const host = hostIn(stage);
      await only(stage, { name: "open", http: [{ name: "all" }] });
      await open(caller, host, ["websocket", "grpc"]);
      expect(await callBeside(caller, host)).toBe(0);
      await only(stage, { name: "open", http: [{ name: "all", pathRegex: "/nothing" }] });
      await until("the next call to be refused", 20_000, async () => (await callBeside(caller, host)) === 7);
      await until("the next WebSocket to be refused", 20_000, async () => {
        const { end } = await caller.hold({ name: "next", kind: "websocket", host, port: HTTP_PORT });
        await caller.letGo("next");
        return end === "HTTP/1.1 403 Forbidden";
      });
      for (const kind of ["websocket", "grpc"] as const) {
        await isHeardOn(caller, kind);
        await caller.letGo(kind);
      }
    },
  },
  {
    name: "that is taken away closes open raw TCP connections, gRPC streams and WebSockets of a caller that may now call nothing there",
    play: async (stage) => {
      const caller = await stage.caller("east", "client");
      const host = hostIn(stage);
      const kinds = ["tcp", "websocket", "grpc"] as const;
      await only(stage, { name: "raw", tcp: [TCP_PORT] }, { name: "web", http: [{ name: "all" }] });
      await open(caller, host, kinds);
      await only(stage);
      const takenAtMs = Date.now();
      await until("the next call to be refused", 20_000, async () => (await callBeside(caller, host)) === 7);
      for (const kind of kinds) {
        const { end, endedAtMs = 0 } = await until(`the open ${kind} connection to be closed`, 60_000, async () => {
          const state = await caller.held(kind);
          return state.end !== undefined && state;
        });
        expect([kind, end]).toEqual([kind, expect.stringMatching(kind === "grpc" ? streamClosed : closed)]);
        process.stdout.write(`open ${kind} is closed after ${((endedAtMs - takenAtMs) / 1000).toFixed(1)} s\n`);
      }
    },
  },
];
