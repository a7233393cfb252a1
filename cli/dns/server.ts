// A workload's DNS server: over UDP and TCP on the addresses it is given, for as long as its signal says. It waits and carries bytes;
// answer.ts decides.
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { createServer, type Server, type Socket } from "node:net";
import { replyTo, type Transport } from "./answer.ts";
import { firstFrame, framed, type Ask } from "./upstream.ts";
import type { Zone } from "./zone.ts";

export interface DnsAddress {
  readonly address: string;
  /** 0: any that is free. */
  readonly port: number;
}

export interface DnsOptions {
  readonly names: () => Promise<Zone>;
  /** Undefined: names that are not the site's are refused. */
  readonly ask: Ask | undefined;
}

export interface DnsServer {
  /** Where it listens, with the port that it got. */
  readonly at: DnsAddress;
  close(): Promise<void>;
}

/** Beyond these a client is told at once that it goes wrong (UDP) or not let in (TCP). */
const MAX_ASKED = 256;
const MAX_CONNECTIONS = 64;
const IDLE_MS = 10_000;
/** A whole message and the beginning of another. */
const MAX_WAITING_BYTES = 2 * 65_537;

/** Rejects when the address or port is not to be had, with the system's code. */
export async function startDns(wanted: DnsAddress, options: DnsOptions): Promise<DnsServer> {
  let asked = 0;
  const respond = async (message: Uint8Array, transport: Transport): Promise<Uint8Array | undefined> => {
    const { names, ask } = options;
    const reply = replyTo(message, { zone: await names(), forwards: ask !== undefined }, transport);
    if (reply.kind === "send") return reply.bytes;
    if (reply.kind === "nothing" || ask === undefined) return undefined;
    if (asked >= MAX_ASKED) return reply.failed;
    asked += 1;
    const answer = await ask(message, transport).finally(() => (asked -= 1));
    return answer ?? reply.failed;
  };
  const tcp = await listenTcp(wanted, respond);
  const at = { ...wanted, port: portOf(tcp.server) };
  try {
    const udp = await listenUdp(at, respond);
    return { at, close: () => closeBoth(tcp, udp) };
  } catch (error) {
    await closeTcp(tcp);
    throw error;
  }
}

type Respond = (message: Uint8Array, transport: Transport) => Promise<Uint8Array | undefined>;

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

interface Listening {
  readonly server: Server;
  readonly connections: Set<Socket>;
}

function listenTcp({ address, port }: DnsAddress, respond: Respond): Promise<Listening> {
  const connections = new Set<Socket>();
  const server = createServer((socket) => {
    connections.add(socket);
    socket.on("close", () => connections.delete(socket)).on("error", () => socket.destroy());
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    converse(socket, respond);
  });
  server.maxConnections = MAX_CONNECTIONS;
  return new Promise((resolve, reject) => {
    server.once("error", reject).listen(port, address, () => {
      server.off("error", reject);
      resolve({ server, connections });
    });
  });
}

/** One question after the other (RFC 7766): a client that sends many waits for its own. */
function converse(socket: Socket, respond: Respond): void {
  let heard: Buffer = Buffer.alloc(0);
  let answering = false;
  const answerAll = async () => {
    answering = true;
    for (let message = firstFrame(heard); message !== undefined; message = firstFrame(heard)) {
      heard = heard.subarray(2 + message.length);
      const response = await respond(message, "tcp");
      if (response === undefined) socket.destroy();
      if (socket.destroyed) return;
      if (response !== undefined) socket.write(framed(response));
    }
    answering = false;
  };
  socket.on("data", (chunk: Buffer) => {
    heard = Buffer.concat([heard, chunk]);
    if (heard.length > MAX_WAITING_BYTES) socket.destroy();
    else if (!answering) void answerAll();
  });
}

function listenUdp({ address, port }: DnsAddress, respond: Respond): Promise<UdpSocket> {
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  let open = true;
  const answer = async (message: Uint8Array, client: DnsAddress) => {
    const response = await respond(message, "udp");
    // a client that is gone is no fault of this server
    if (response !== undefined && open) socket.send(response, client.port, client.address, () => undefined);
  };
  socket.on("message", (message, client) => void answer(message, client)).on("close", () => (open = false));
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.bind({ address, port, exclusive: true }, () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

async function closeBoth(tcp: Listening, udp: UdpSocket): Promise<void> {
  await Promise.all([closeTcp(tcp), closeUdp(udp)]);
}

async function closeTcp({ server, connections }: Listening): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  for (const socket of connections) socket.destroy();
  await closed;
}

function closeUdp(socket: UdpSocket): Promise<void> {
  return new Promise((resolve) => socket.close(() => resolve()));
}
