// What is carried: every protocol that a port can have, told by appProtocol or by the port's name as OSM reads it, through one pod that
// several Services open.
import { expect } from "vitest";
import type { Manifest, Scene } from "../../stage/fleet-under-test.ts";
import { makeServerPair } from "../../node/pki.ts";
import { until } from "../../stage/until.ts";
import { GRPC_PORT, HTTP_PORT, TCP_PORT, tcpRoute, TLS_PORT, trafficTarget, workload } from "../../stage/workload.ts";
import type { HeldKind } from "../../traffic/caller.ts";
import { untilAnsweredBy, type Area, type AreaStage } from "./row.ts";

const namespace = "smi-protocols";

/** Other ports of the same pods, whose protocols their names tell. */
const byName: Manifest = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { namespace, name: "named" },
  spec: {
    selector: { app: "server" },
    ports: [
      { name: "http-web", port: 8081, targetPort: HTTP_PORT },
      { name: "grpc-api", port: 50_052, targetPort: GRPC_PORT },
      { name: "tcp-raw", port: 9001, targetPort: TCP_PORT },
    ],
  },
};

/** An application that encrypts itself: bytes that look like it, and real TLS. */
const encrypted: Manifest = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { namespace, name: "encrypted" },
  spec: {
    selector: { app: "server" },
    ports: [
      { name: "bytes", port: 9443, targetPort: TCP_PORT, appProtocol: "https" },
      { name: "https", port: TLS_PORT, targetPort: TLS_PORT, appProtocol: "https" },
    ],
  },
};

const encryptedName = `encrypted.${namespace}`;
const pair = await makeServerPair(encryptedName);

const firstByNameOnly: Manifest = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { namespace, name: "greeting" },
  spec: { selector: { app: "first" }, ports: [{ name: "tcp-server-first-mail", port: 9025, targetPort: TCP_PORT }] },
};

async function deploy(scene: Scene): Promise<void> {
  const { image } = scene;
  const rule = { kind: "TCPRoute", name: "all" } as const;
  await scene.apply("east", [
    byName,
    encrypted,
    firstByNameOnly,
    ...workload({ namespace, name: "server", image, tcp: "echo", grpc: true, tls: pair }),
    ...workload({ namespace, name: "first", image, tcp: "banner" }),
    ...workload({ namespace, name: "client", image }),
    tcpRoute(namespace, "all", [HTTP_PORT, TCP_PORT, GRPC_PORT, TLS_PORT]),
    ...["server", "first"].map((to) => trafficTarget({ namespace, name: to, to, from: ["client"], rule })),
  ]);
  await scene.ready("east");
}

/** Opens a connection of that kind and hears back on it more than once. */
async function lives(stage: AreaStage, kind: HeldKind, service: string, port: number): Promise<void> {
  const caller = await stage.caller("east", "client");
  const name = `${kind} ${service}`;
  const host = `${service}.${namespace}`;
  await until(`an open ${kind} connection to ${service}`, 30_000, async () => {
    const { end } = await caller.hold({ name, kind, host, port });
    return end === undefined;
  });
  const first = await caller.held(name);
  await until(`more on the ${kind} connection`, 10_000, async () => {
    const { end, lastHeardAtMs } = await caller.held(name);
    expect(end).toBeUndefined();
    return lastHeardAtMs > first.lastHeardAtMs;
  });
  await caller.letGo(name);
}

async function tcp(stage: AreaStage, service: string, port: number, text?: string): Promise<string> {
  const caller = await stage.caller("east", "client");
  const bytes = text?.length ?? 5;
  const options = { host: `${service}.${namespace}`, port, bytes, ...(text !== undefined && { text }) };
  return until(`bytes of ${service}`, 30_000, async () => {
    const { end, received } = await caller.tcp(options);
    return end === "received" && received;
  });
}

export const protocolsArea: Area = {
  name: "a port",
  namespace,
  members: ["east"],
  deploy,
  rows: [
    {
      name: "of HTTP carries requests, WebSockets too",
      play: async (stage) => {
        await untilAnsweredBy(
          await stage.caller("east", "client"),
          `http://server.${namespace}:${HTTP_PORT}/`,
          "server",
        );
        await lives(stage, "http", "server", HTTP_PORT);
        await lives(stage, "websocket", "server", HTTP_PORT);
      },
    },
    { name: "of gRPC carries streams", play: (stage) => lives(stage, "grpc", "server", GRPC_PORT) },
    {
      name: "of raw TCP carries bytes, whoever speaks first",
      play: async (stage) => {
        await lives(stage, "tcp", "server", TCP_PORT);
        expect(await tcp(stage, "server", TCP_PORT, "hello")).toBe("hello");
        expect(await tcp(stage, "first", TCP_PORT)).toBe("first\n");
      },
    },
    {
      name: "of a server that speaks first keeps its clients waiting for no inspection",
      play: async (stage) => {
        const caller = await stage.caller("east", "client");
        await tcp(stage, "first", TCP_PORT);
        // an inspector would hold every one of them for its time-out of 100 ms, on both sides; a busy machine holds some
        const heard = await until("a greeting that nothing held back", 60_000, async () => {
          const { end, ms } = await caller.tcp({ host: `first.${namespace}`, port: TCP_PORT, bytes: 5 });
          return end === "received" && ms < 100 && ms;
        });
        process.stdout.write(`a server that speaks first is heard after ${heard.toFixed(1)} ms\n`);
      },
    },
    {
      name: "without an appProtocol is what its name says, as OSM reads names; several Services open one pod, each with ports of its own",
      play: async (stage) => {
        await untilAnsweredBy(await stage.caller("east", "client"), `http://named.${namespace}:8081/`, "server");
        await lives(stage, "websocket", "named", 8081);
        await lives(stage, "grpc", "named", 50_052);
        await lives(stage, "tcp", "named", 9001);
        expect(await tcp(stage, "greeting", 9025)).toBe("first\n");
      },
    },
    {
      name: "of TLS passes on what its application encrypts itself, unread",
      play: async (stage) => {
        // the head of a ClientHello: an inspector that read it would wait for more, or choose by it
        const hello = "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";
        expect(await tcp(stage, "encrypted", 9443, hello)).toBe(hello);
        // trusted is the application's own authority alone, so nobody stands between
        const caller = await stage.caller("east", "client");
        const tls = { ca: pair.caPem, servername: encryptedName };
        await until("an answer under TLS of the application", 30_000, async () => {
          const call = { host: encryptedName, port: TLS_PORT, path: "/shop.Echo/Say", tls };
          const { error, ...answer } = await caller.rpc(call);
          if (error !== undefined) return false;
          expect(answer).toEqual({ alpn: "h2", status: 200, grpcStatus: 0, service: "server" });
          return true;
        });
      },
    },
  ],
};
