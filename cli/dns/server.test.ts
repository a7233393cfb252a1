// The server as a real resolver meets it: c-ares, which Node brings along, over UDP and TCP.
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createSocket, type Socket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { namesOf } from "./names.ts";
import { startDns, type DnsServer } from "./server.ts";
import { nameservers, systemResolvers, type Ask } from "./upstream.ts";

let dir = "";
let hosts = "";
const open: { close(): unknown }[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "isthmus-dns-"));
  hosts = join(dir, "hosts");
  write("127.64.16.1 catalog.shop.svc.clusterset.local");
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
  rmSync(dir, { recursive: true, force: true });
});

function write(text: string): void {
  writeFileSync(`${hosts}.new`, text);
  renameSync(`${hosts}.new`, hosts);
}

async function start(ask?: Ask): Promise<DnsServer> {
  const server = await startDns({ address: "127.0.0.1", port: 0 }, { names: namesOf(hosts), ask });
  open.push(server);
  return server;
}

function resolverOf({ at }: DnsServer): Resolver {
  const resolver = new Resolver({ timeout: 8_000, tries: 2 });
  resolver.setServers([`${at.address}:${at.port}`]);
  return resolver;
}

it("a resolver finds what there is, is told what there is not, and sees a changed file at once", async () => {
  const resolver = resolverOf(await start());
  expect(await resolver.resolve4("catalog.shop.svc.clusterset.local")).toEqual(["127.64.16.1"]);
  await expect(resolver.resolve6("catalog.shop.svc.clusterset.local")).rejects.toMatchObject({ code: "ENODATA" });
  await expect(resolver.resolve4("cart.shop.svc.clusterset.local")).rejects.toMatchObject({ code: "ENOTFOUND" });
  await expect(resolver.resolve4("example.com")).rejects.toMatchObject({ code: "EREFUSED" });
  write("127.64.16.2 cart.shop.svc.clusterset.local");
  expect(await resolver.resolve4("cart.shop.svc.clusterset.local")).toEqual(["127.64.16.2"]);
  rmSync(hosts);
  expect(await resolver.resolve4("cart.shop.svc.clusterset.local")).toEqual(["127.64.16.2"]);
});

it("an answer that is too long for UDP is fetched over TCP by the resolver itself", async () => {
  const addresses = Array.from({ length: 200 }, (_, index) => `127.64.17.${index}`);
  write(addresses.map((address) => `${address} many.shop.svc.cluster.local`).join("\n"));
  const found = await resolverOf(await start()).resolve4("many.shop.svc.cluster.local");
  expect(found.sort()).toEqual(addresses.sort());
});

/** A resolver of the machine that knows one address, and answers every question with it after some junk. */
async function machineResolver(): Promise<{ readonly socket: Socket; readonly port: number }> {
  const socket = createSocket("udp4");
  socket.on("message", (message, { port, address }) => {
    const flags = Buffer.from(message);
    flags.writeUInt16BE(0x8180, 2);
    flags.writeUInt16BE(1, 6);
    flags.writeUInt16BE(0, 10);
    const end = message.indexOf(0, 12) + 5;
    const record = Buffer.from("c00c00010001000000050004c0000201", "hex");
    const answer = Buffer.concat([flags.subarray(0, end), record]);
    const ofAnother = Buffer.from(answer);
    ofAnother[0] = (ofAnother[0] ?? 0) ^ 255;
    const toAnother = Buffer.from(answer);
    toAnother[13] = (toAnother[13] ?? 0) ^ 1;
    for (const each of [ofAnother, toAnother, message, answer]) socket.send(each, port, address);
  });
  await new Promise<void>((done) => socket.bind(0, "127.0.0.1", done));
  open.push({ close: () => new Promise<void>((done) => socket.close(() => done())) });
  return { socket, port: socket.address().port };
}

it("names of others are asked for at the machine's resolvers, past those that lead back here", async () => {
  const { port } = await machineResolver();
  const resolvConfPath = join(dir, "resolv.conf");
  writeFileSync(resolvConfPath, "# comment\nnameserver 127.64.16.0\nnameserver 127.0.0.1\n");
  const server = await start(systemResolvers({ resolvConfPath, own: new Set(["127.64.16.0"]), port }));
  expect(await resolverOf(server).resolve4("example.com")).toEqual(["192.0.2.1"]);
});

it("when no resolver of the machine answers, the client hears that it went wrong", async () => {
  const resolvConfPath = join(dir, "absent");
  const server = await start(systemResolvers({ resolvConfPath, own: new Set() }));
  await expect(resolverOf(server).resolve4("example.com")).rejects.toMatchObject({ code: "ESERVFAIL" });
});

it.each([
  ["", []],
  ["nameserver 10.0.0.1\nnameserver\nnameserver fe80::1%eth0\n#nameserver 1.1.1.1\n", ["10.0.0.1", "fe80::1%eth0"]],
  ["nameserver a\nnameserver b\nnameserver c\nnameserver d\n", ["a", "b", "c"]],
])("resolv.conf %j names %j", (text, found) => {
  expect(nameservers(text, new Set())).toEqual(found);
});

it("a client that sends junk over TCP, or breaks off, disturbs nobody", async () => {
  const server = await start();
  const { address, port } = server.at;
  const talk = (bytes: Buffer) =>
    new Promise<void>((done) => {
      const socket = connect(port, address, () => socket.end(bytes));
      socket.on("error", () => undefined).on("close", () => done());
      socket.resume();
    });
  await Promise.all([
    talk(Buffer.alloc(0)),
    talk(Buffer.from([255])),
    talk(Buffer.from([255, 255, 1, 2, 3])),
    talk(Buffer.alloc(300_000, 7)),
    talk(Buffer.from([0, 12, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0])),
  ]);
  expect(await resolverOf(server).resolve4("catalog.shop.svc.clusterset.local")).toEqual(["127.64.16.1"]);
});

it("two servers cannot have one address", async () => {
  const { at } = await start();
  await expect(startDns(at, { names: namesOf(hosts), ask: undefined })).rejects.toMatchObject({ code: "EADDRINUSE" });
});
