// Asks the machine's own resolvers a question that is not the site's, and hands their answer on as it is.
import { createSocket } from "node:dgram";
import { randomInt } from "node:crypto";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import type { Transport } from "./answer.ts";

const DNS_PORT = 53;
const ANSWER_MS = 2000;
const MAX_SERVERS = 3;
const ID_BYTES = 2;
const HEADER_BYTES = 12;

/** Undefined: nobody answered. */
export type Ask = (question: Uint8Array, transport: Transport) => Promise<Uint8Array | undefined>;

/** As resolv.conf(5) names them, without those that lead back here. Pure. */
export function nameservers(resolvConf: string, own: ReadonlySet<string>): readonly string[] {
  const named = [...resolvConf.matchAll(/^[ \t]*nameserver[ \t]+(\S+)/gm)].map(([, address = ""]) => address);
  return named.filter((address) => !own.has(address)).slice(0, MAX_SERVERS);
}

export interface UpstreamOptions {
  readonly resolvConfPath: string;
  /** Addresses of this server. */
  readonly own: ReadonlySet<string>;
  readonly port?: number;
}

/** The file is read for every question: a laptop changes its network. */
export function systemResolvers({ resolvConfPath, own, port = DNS_PORT }: UpstreamOptions): Ask {
  return async (question, transport) => {
    const text = await readFile(resolvConfPath, "utf8").catch(() => "");
    for (const address of nameservers(text, own)) {
      const ask = transport === "udp" ? askByUdp : askByTcp;
      const answer = await ask(question, address, port);
      if (answer !== undefined) return answer;
    }
    return undefined;
  };
}

/** From a port and with a number of its own: who only guesses both has no answer to give. */
function askByUdp(question: Uint8Array, address: string, port: number): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    const end = (answer: Uint8Array | undefined) => {
      clearTimeout(late);
      socket.close();
      resolve(answer);
    };
    const late = setTimeout(() => end(undefined), ANSWER_MS);
    const id = randomInt(0x1_00_00);
    socket.on("error", () => end(undefined));
    socket.on("message", (message) => {
      if (answers(message, withId(question, id))) end(withId(message, idOf(question)));
    });
    socket.connect(port, address, () => socket.send(withId(question, id)));
  });
}

function askByTcp(question: Uint8Array, address: string, port: number): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    let heard = Buffer.alloc(0);
    const socket = connect(port, address, () => socket.write(framed(question)));
    const end = (answer: Uint8Array | undefined) => {
      clearTimeout(late);
      socket.destroy();
      resolve(answer);
    };
    const late = setTimeout(() => end(undefined), ANSWER_MS);
    socket.on("error", () => end(undefined));
    socket.on("close", () => end(undefined));
    socket.on("data", (chunk: Buffer) => {
      heard = Buffer.concat([heard, chunk]);
      const message = firstFrame(heard);
      if (message !== undefined) end(answers(message, question) ? message : undefined);
    });
  });
}

/** RFC 1035 4.2.2 */
export function framed(message: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.of(message.length >> 8, message.length & 255), message]);
}

/** Undefined while it is not whole. */
export function firstFrame(heard: Buffer): Buffer | undefined {
  if (heard.length < 2) return undefined;
  const end = 2 + heard.readUInt16BE(0);
  return heard.length < end ? undefined : heard.subarray(2, end);
}

function idOf(message: Uint8Array): number {
  return ((message[0] ?? 0) << 8) | (message[1] ?? 0);
}

function withId(message: Uint8Array, id: number): Uint8Array {
  return Buffer.concat([Uint8Array.of(id >> 8, id & 255), message.subarray(ID_BYTES)]);
}

/** A response with the question's number and its first question, whatever case its letters came back in. */
function answers(message: Uint8Array, question: Uint8Array): boolean {
  const isResponse = message.length >= HEADER_BYTES && ((message[2] ?? 0) & 0x80) !== 0;
  return isResponse && idOf(message) === idOf(question) && askedIn(message, question) === askedIn(question, question);
}

/** The bytes in `message` where `question` has its question, which is one that answer.ts has read. */
function askedIn(message: Uint8Array, question: Uint8Array): string {
  let end = HEADER_BYTES;
  for (let length = question[end]; length !== undefined && length !== 0; length = question[end]) end += 1 + length;
  return Buffer.from(message.subarray(HEADER_BYTES, end + 1 + 2 * 2))
    .toString("latin1")
    .toLowerCase();
}
