// TrafficTarget with HTTPRouteGroup and TCPRoute: one server, its callers, and one other member with a caller of the same name. Every row
// asks on connections that were open before its change.
import { expect } from "vitest";
import type { Scene } from "../../stage/fleet-under-test.ts";
import { until } from "../../stage/until.ts";
import { GRPC_PORT, HTTP_PORT, serviceExport, TCP_PORT, workload } from "../../stage/workload.ts";
import type { Answer, Caller } from "../../traffic/caller.ts";
import { openExchangeRows } from "./open-exchanges.ts";
import { pathTricks } from "./path-tricks.ts";
import { rawTcpEnd, refused, untilRawTcp, type Area } from "./row.ts";
import { only } from "./targets.ts";

const namespace = "smi-access";
const host = `server.${namespace}`;
const at = (path: string, port = HTTP_PORT) => `http://${host}:${port}${path}`;

async function deploy(scene: Scene): Promise<void> {
  const { image } = scene;
  await Promise.all([
    scene.apply("east", [
      ...workload({ namespace, name: "server", image, tcp: "echo", grpc: true }),
      ...workload({ namespace, name: "client", image }),
      serviceExport(namespace, "server"),
    ]),
    scene.apply("north", workload({ namespace, name: "client", image })),
  ]);
  await Promise.all(["east", "north"].map((member) => scene.ready(member)));
}

interface Ask {
  readonly path?: string;
  readonly port?: number;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

function answerTo(caller: Caller, { path = "/", port, method = "GET", headers = {} }: Ask): Promise<Answer> {
  return caller.request({ url: at(path, port), method, headers, connection: "kept" });
}

async function statusOf(caller: Caller, ask: Ask): Promise<number | undefined> {
  return (await answerTo(caller, ask)).status;
}

/** Waits for the last of these answers, then asks all of them. */
async function answers(caller: Caller, ...rows: readonly (readonly [Ask, number])[]): Promise<void> {
  for (const [ask, status] of rows) {
    let last = "nothing";
    await until(`${status} for ${JSON.stringify(ask)}`, 60_000, async () => {
      const { status: seen, error, body = "", ms } = await answerTo(caller, ask);
      last = `${error ?? `${String(seen)} ${body.trim()}`} after ${ms.toFixed(0)} ms`;
      return seen === status;
    }).catch((cause: unknown) => {
      throw new Error(`the last answer was: ${last}`, { cause });
    });
  }
  for (const [ask, status] of rows) expect([ask, await statusOf(caller, ask)]).toEqual([ask, status]);
}

const anything = [{ name: "all" }];

export const accessArea: Area = {
  name: "a TrafficTarget",
  namespace,
  members: ["east", "north"],
  deploy,
  rows: [
    {
      name: "is needed: without any policy HTTP is answered 403, on every port and in every version, and raw TCP is closed",
      play: async (stage) => {
        const caller = await stage.caller("east", "client");
        await answers(caller, [{}, 403], [{ method: "POST", path: "/x" }, 403]);
        const unknownPort = await caller.request({ url: at("/", 8081) });
        expect(unknownPort.status).toBe(403);
        // gRPC has no 403: a refusal is status 7, PERMISSION_DENIED
        const { grpcStatus } = await caller.rpc({ host, port: GRPC_PORT, path: "/shop.Echo/Say" });
        expect(grpcStatus).toBe(7);
        expect(await rawTcpEnd(caller, host)).toMatch(refused);
      },
    },
    {
      name: "lets its sources make the requests of its matches, by path, method and headers together, and no other",
      play: async (stage) => {
        const caller = await stage.caller("east", "client");
        const read = { name: "read", pathRegex: "/items", methods: ["GET", "HEAD"] };
        const write = {
          name: "write",
          pathRegex: "/items/[0-9]+$",
          methods: ["PUT"],
          headers: { "x-role": "editor|admin" },
        };
        await only(stage, { name: "items", http: [read, write] });
        const put = (path: string, role: string) => ({ path, method: "PUT", headers: { "x-role": role } });
        await answers(
          caller,
          [{ path: "/items" }, 200],
          // anchored at the start alone
          [{ path: "/items/7?full=1" }, 200],
          [{ path: "/old/items" }, 403],
          [{ path: "/items", method: "POST" }, 403],
          [put("/items/7", "editor"), 200],
          [put("/items/7", "reader"), 403],
          [put("/items/7", "not-an-editor"), 403],
          [put("/items", "editor"), 403],
        );
      },
    },
    {
      name: "with the matches of a rule left out means all of the group, and with names those",
      play: async (stage) => {
        const caller = await stage.caller("east", "client");
        const http = [
          { name: "a", pathRegex: "/a" },
          { name: "b", pathRegex: "/b" },
        ];
        await only(stage, { name: "some", http });
        await answers(caller, [{ path: "/a" }, 200], [{ path: "/b" }, 200], [{ path: "/c" }, 403]);
        await only(stage, { name: "some", http, matches: ["b"] });
        await answers(caller, [{ path: "/a" }, 403], [{ path: "/b" }, 200]);
      },
    },
    {
      name: "takes nothing from another: overlapping matches of two are both granted, and one that goes takes its own alone",
      play: async (stage) => {
        const caller = await stage.caller("east", "client");
        const wide = { name: "wide", http: [{ name: "get", pathRegex: "/.*", methods: ["GET"] }] };
        const narrow = { name: "narrow", http: [{ name: "post", pathRegex: "/items", methods: ["GET", "POST"] }] };
        await only(stage, wide, narrow);
        await answers(
          caller,
          [{ path: "/items", method: "POST" }, 200],
          [{ path: "/other" }, 200],
          [{ path: "/items" }, 200],
        );
        await only(stage, narrow);
        await answers(
          caller,
          [{ path: "/other" }, 403],
          [{ path: "/items", method: "POST" }, 200],
          [{ path: "/items" }, 200],
        );
      },
    },
    {
      name: "joins its own port and matches, never those of another",
      play: async (stage) => {
        const caller = await stage.caller("east", "client");
        await only(
          stage,
          { name: "one", http: [{ name: "a", pathRegex: "/a" }], tcp: [GRPC_PORT] },
          { name: "two", http: [{ name: "b", pathRegex: "/b" }], tcp: [HTTP_PORT] },
        );
        await answers(caller, [{ path: "/b" }, 200], [{ path: "/a" }, 403]);
      },
    },
    {
      name: "with a TCPRoute alone opens its ports, HTTP on them too; a TCPRoute of any port opens all",
      play: async (stage) => {
        const caller = await stage.caller("east", "client");
        await only(stage, { name: "tcp", tcp: [TCP_PORT] });
        await answers(caller, [{}, 403]);
        await untilRawTcp(caller, host, "carried");
        await only(stage, { name: "tcp", tcp: [HTTP_PORT] });
        await answers(caller, [{ path: "/any", method: "POST" }, 200]);
        await untilRawTcp(caller, host, "refused");
        await only(stage, { name: "tcp", tcp: [] });
        await answers(caller, [{}, 200]);
        await untilRawTcp(caller, host, "carried");
      },
    },
    ...openExchangeRows,
    {
      name: "of HTTP alone opens no raw TCP",
      play: async (stage) => {
        const caller = await stage.caller("east", "client");
        await only(stage, { name: "http", http: anything });
        await answers(caller, [{}, 200]);
        await untilRawTcp(caller, host, "refused");
      },
    },
    {
      name: "grants gRPC by the path of its method",
      play: async (stage) => {
        const caller = await stage.caller("east", "client");
        // each time on a new connection, and on one that is kept
        const rpc = (method: string, connection: string) =>
          caller.rpc({ host, port: GRPC_PORT, path: `/shop.Echo/${method}`, connection });
        const untilStatus = async (method: string, status: number) => {
          for (const connection of ["new", "kept"])
            await until(`status ${status} of ${method} on a ${connection} connection`, 20_000, async () => {
              const { grpcStatus } = await rpc(method, connection);
              return grpcStatus === status;
            });
        };
        await only(stage, { name: "grpc", http: [{ name: "say", pathRegex: "/shop[.]Echo/Say$", methods: ["POST"] }] });
        await untilStatus("Say", 0);
        await untilStatus("SayMore", 7);
        await only(stage, { name: "grpc", http: [{ name: "more", pathRegex: "/shop[.]Echo/SayMore$" }] });
        await untilStatus("SayMore", 0);
        await untilStatus("Say", 7);
      },
    },
    {
      name: "is not widened by the way a path is written",
      play: async (stage) => {
        const caller = await stage.caller("east", "client");
        await only(stage, { name: "public", http: [{ name: "public", pathRegex: "/public/" }] });
        await answers(caller, [{ path: "/public/a" }, 200], [{ path: "/admin" }, 403]);
        for (const path of pathTricks) {
          const { status, error } = await caller.request({ url: at(path) });
          expect([path, error ?? status]).toEqual([
            path,
            expect.toSatisfy((seen: unknown) => [400, 403, 307].includes(seen as number)),
          ]);
        }
      },
    },
    {
      name: "means the accounts of its own cluster: the same account of another member is another caller",
      play: async (stage) => {
        const [caller, elsewhere] = [await stage.caller("east", "client"), await stage.caller("north", "client")];
        const imported = `http://${host}.svc.clusterset.local:${HTTP_PORT}/`;
        const fromNorth = async () => (await elsewhere.request({ url: imported, connection: "kept" })).status;
        await only(stage, { name: "here", http: anything });
        await answers(caller, [{}, 200]);
        await until("403 for north", 30_000, async () => (await fromNorth()) === 403);
        await only(stage, { name: "here", http: anything, sourceClusters: "north" });
        await until("200 for north", 30_000, async () => (await fromNorth()) === 200);
        await answers(caller, [{}, 403]);
        await only(stage, { name: "here", http: anything, sourceClusters: "*" });
        await answers(caller, [{}, 200]);
        expect(await fromNorth()).toBe(200);
      },
    },
    {
      name: "takes effect on the wire within a second, given or taken away, on a connection that is open",
      play: async (stage) => {
        const caller = await stage.caller("east", "client");
        await only(stage, { name: "here", http: anything });
        await answers(caller, [{}, 200]);
        const timed = async (status: number, change: () => Promise<void>) => {
          const asked = performance.now();
          await change();
          const made = performance.now();
          await until(`${status}`, 30_000, async () => (await statusOf(caller, {})) === status);
          return { sinceMs: performance.now() - made, wholeMs: performance.now() - asked };
        };
        const taken = await timed(403, () => only(stage));
        const given = await timed(200, () => only(stage, { name: "here", http: anything }));
        const words = [taken, given].map(
          ({ sinceMs, wholeMs }) =>
            `${sinceMs.toFixed(0)} ms (${wholeMs.toFixed(0)} ms with kubectl, or writing the file)`,
        );
        process.stdout.write(`a TrafficTarget takes effect after ${words.join(" when taken away, ")} when given\n`);
        // on a machine that tests share, three times the bar
        expect(Math.max(taken.sinceMs, given.sinceMs)).toBeLessThan(3_000);
      },
    },
  ],
};
