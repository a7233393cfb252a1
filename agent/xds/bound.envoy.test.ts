// Sidecars as processes, without redirect and without root: two workloads of a site call each other by HTTP proxy and by loopback
// address, on real Envoys with real certificates. One site for all sentences; each leaves it as it was found.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, createServer, type Server } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { BoundMember } from "./testing/bound-member.ts";
import { testFleet, type TestFleet } from "./testing/certificates.ts";
import { ownGround } from "../../shared/testing/ground.ts";
import { eventually, findEnvoy, start, type Running } from "./testing/envoy.ts";
import { fleetDomain } from "./testing/mesh-case.ts";

const ground = await ownGround();
const { net } = ground;
const RANGE = `${net}.0.0`;
const [APPLICATION, DATABASE, OUTSIDE] = [await ground.port(), await ground.port(), await ground.port()];

const services = `
services:
  - name: cart
    vips: [${net}.0.1]
    ports:
      - { port: 80, local: [{ address: ${net}.32.0 }] }
      - { port: 8080, local: [{ address: ${net}.32.0 }] }
      - { port: 5432, protocol: tcp, local: [{ address: ${net}.32.0, port: 9000 }] }
      - { port: 3306, protocol: tcp-server-first, local: [{ address: ${net}.32.0, port: 9100 }] }
  - { name: open, scope: fleet, vips: [${net}.0.2], ports: [{ port: 8080, identities: [east/shop/cart], local: [{ address: ${net}.32.0 }] }] }
  - { name: secret, vips: [${net}.0.3], ports: [{ port: 8080, local: [{ address: ${net}.32.0, serviceAccount: secret }] }] }
`;
const granted = `${services}
grants:
  - { name: front-to-cart, from: [east/shop/front], to: shop/cart, http: [{ pathRegex: /items }] }
  - { name: front-to-database, from: [east/shop/front], to: shop/cart, ports: [9000, 9100], tcp: true }
`;
const nothingGranted = `${services}\ngrants: []`;

// generous: on a busy machine a proxy takes seconds to start
vi.setConfig({ testTimeout: 60_000, hookTimeout: 120_000 });

const found = findEnvoy();
const envoy = "path" in found ? found.path : "";
let dir = "";
let fleet: TestFleet;
const processes: Running[] = [];
let front: BoundMember;
let cart: BoundMember;
let stranger: BoundMember;

function member(name: string, block: string, applications: BoundMember["bound"]["applications"] = []): BoundMember {
  const bound = {
    applications,
    inboundAddresses: [block],
    httpProxy: { address: block, port: 15001 },
    loopback: { rangeStart: RANGE, blockStart: block },
    lowestPort: 1024,
  };
  return new BoundMember({ name, bound, dir, envoy, trust: fleet.svid("east", "shop", name) });
}

async function program(file: string, ...args: readonly string[]): Promise<void> {
  const running = start([process.execPath, join(import.meta.dirname, "testing", file), ...args]);
  processes.push(running);
  await eventually(`${file} listens`, () => Promise.resolve(running.log().includes("listening") || undefined));
}

/** What comes back when `said` is sent over one TCP connection, up to `enough`. */
function conversation(address: string, port: number, said: string, enough: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let heard = "";
    const socket = connect(port, address, () => socket.write(said));
    const ended = () => {
      socket.destroy();
      resolve(heard);
    };
    socket.setTimeout(20_000, ended).on("error", reject).on("close", ended);
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      heard += chunk;
      if (heard.includes(enough)) ended();
    });
  });
}

const callerOfFront = /^By=[^,]*;URI=spiffe:\/\/east\.acme\.mesh\/ns\/shop\/sa\/front$/;

function seenBy(text: string): { readonly xfcc: string; readonly httpVersion: string } {
  const { headers, httpVersion } = JSON.parse(text) as { headers: Record<string, string>; httpVersion: string };
  return { xfcc: headers["x-forwarded-client-cert"] ?? "", httpVersion };
}

describe.skipIf(envoy === "")("sidecars that bind instead of being redirected to", () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "isthmus-bound-"));
    fleet = testFleet(dir, fleetDomain);
    front = member("front", `${net}.16.0`);
    cart = member("cart", `${net}.32.0`, [
      { port: 8080, address: "127.0.0.1", applicationPort: APPLICATION },
      { port: 9000, address: "127.0.0.1", applicationPort: DATABASE },
      { port: 9100, address: "127.0.0.1", applicationPort: DATABASE },
    ]);
    stranger = member("stranger", `${net}.48.0`);
    for (const one of [front, cart, stranger]) one.configure(granted);
    await Promise.all([
      ...[front, cart, stranger].map((one) => one.startProxy()),
      program("application.mjs", String(APPLICATION), "cart"),
      program("tcp-application.mjs", String(DATABASE), "welcome"),
    ]);
  });

  afterAll(async () => {
    const proxies = [front, cart, stranger].flatMap(({ proxy }) => proxy ?? []);
    await Promise.all([...processes, ...proxies].map((running) => running.stop()));
    rmSync(dir, { recursive: true, force: true });
  });

  it.each([
    "http://cart/items",
    "http://cart.shop/items",
    "http://cart.shop:80/items",
    "http://cart.shop:8080/items",
    "http://cart.shop.svc.cluster.local/items",
    "http://cart.shop.svc.cluster.local.:8080/items",
    "http://CART.Shop/items",
    "http://open.shop.svc.clusterset.local:8080/items",
  ])("%s is answered by HTTP proxy, and the server sees who calls", async (url) => {
    const forged = "x-forwarded-client-cert: URI=spiffe://east.acme.mesh/ns/shop/sa/admin";
    const answer = await front.byProxy(url, "-H", forged);
    expect(answer).toMatchObject({ status: 200 });
    expect(seenBy(answer.text).xfcc).toMatch(callerOfFront);
  });

  it("a service answers on its loopback address, and sees who calls", async () => {
    const answer = await front.directly(`http://${net}.16.1:8080/items`);
    expect(answer).toMatchObject({ status: 200 });
    expect(seenBy(answer.text).xfcc).toMatch(callerOfFront);
  });

  it("a client that tunnels plain HTTP is answered like one that does not, in its own HTTP version", async () => {
    for (const [version, flags] of [
      ["1.1", []],
      ["2.0", ["--http2-prior-knowledge"]],
    ] as const) {
      const answer = await front.byProxy("-p", "http://cart.shop:8080/items", ...flags);
      expect(answer).toMatchObject({ status: 200 });
      expect(seenBy(answer.text)).toEqual({
        xfcc: expect.stringMatching(callerOfFront) as unknown,
        httpVersion: version,
      });
    }
    expect(await front.byProxy("-p", "http://cart.shop/items")).toMatchObject({ status: 200 });
  });

  it("a Node application that is only told of the proxy by its environment reaches a service", async () => {
    const { address, port } = front.bound.httpProxy;
    const call = 'fetch("http://cart.shop/items").then((answer) => answer.text()).then((text) => console.log(text))';
    const told = { NODE_USE_ENV_PROXY: "1", HTTP_PROXY: `http://${address}:${port}` };
    const said = await promisify(execFile)(process.execPath, ["-e", call], { env: { ...process.env, ...told } });
    expect(seenBy(said.stdout).xfcc).toMatch(callerOfFront);
  });

  it("bytes reach a TCP service on its loopback address and through a tunnel, whoever speaks first", async () => {
    const echoed = "welcome\nhello";
    expect(await conversation(`${net}.16.1`, 5432, "hello", echoed)).toBe(echoed);
    expect(await conversation(`${net}.16.1`, 3306, "", "welcome\n")).toBe("welcome\n");
    const open = "CONNECT cart.shop:5432 HTTP/1.1\r\nhost: cart.shop:5432\r\n\r\n";
    const tunnelled = await conversation(`${net}.16.0`, 15001, `${open}hello`, "hello");
    expect(tunnelled).toMatch(/^HTTP\/1\.1 200 /);
    expect(tunnelled.endsWith(echoed)).toBe(true);
  });

  it.each([
    [
      "a path that no grant names",
      "http://cart.shop:8080/admin",
      "no TrafficTarget lets spiffe://east.acme.mesh/ns/shop/sa/front",
    ],
    ["a service that no grant lets it reach", "http://secret.shop:8080/items", "isthmus: no route"],
    ["that service by its bare name", "http://secret:8080/items", "isthmus: no route"],
    ["that service on another port", "http://secret.shop/items", "isthmus: no route"],
    ["a port that the service does not have", "http://cart.shop:81/items", "isthmus: no route"],
    ["plain HTTP to a TCP port", "http://cart.shop:5432/items", "isthmus: no route"],
  ])("%s is refused with the reason", async (_what, url, text) => {
    const answer = await front.byProxy(url);
    expect(answer).toMatchObject({ status: 403 });
    expect(answer.text).toContain(text);
  });

  it("a service that no grant lets it reach answers 403 on its loopback address too, until it is granted", async () => {
    const url = `http://${net}.16.3:8080/items`;
    for (const flags of [[], ["--http2-prior-knowledge"]]) {
      const answer = await front.directly(url, ...flags);
      expect(answer).toMatchObject({ status: 403 });
      expect(answer.text).toContain("isthmus: no route");
    }
    const answers = (status: number) =>
      eventually(`${status} is answered`, async () =>
        (await front.directly(url)).status === status ? true : undefined,
      );
    const toSecret = "{ name: front-to-secret, from: [east/shop/front], to: shop/secret, http: [{ pathRegex: / }] }";
    front.configure(`${granted}  - ${toSecret}\n`);
    try {
      await answers(503); // it is called now, and who answers there is not the account that was granted
    } finally {
      front.configure(granted);
    }
    await answers(403);
  });

  it("a workload without a grant gets 403, from its own sidecar or from the server's", async () => {
    const own = await stranger.byProxy("http://cart.shop:8080/items");
    expect(own).toMatchObject({ status: 403 });
    expect(own.text).toContain("isthmus: no route");
    for (const answer of [
      await stranger.byProxy("http://open.shop.svc.clusterset.local:8080/items"),
      await stranger.directly(`http://${net}.48.2:8080/items`),
    ]) {
      expect(answer).toMatchObject({ status: 403 });
      expect(answer.text).toContain("no TrafficTarget lets spiffe://east.acme.mesh/ns/shop/sa/stranger");
    }
    const tunnel = "CONNECT cart.shop:5432 HTTP/1.1\r\nhost: cart.shop:5432\r\n\r\n";
    expect(await conversation(`${net}.48.0`, 15001, tunnel, "\r\n\r\n")).toMatch(/^HTTP\/1\.1 403 /);
    await expect(conversation(`${net}.48.1`, 5432, "hello", "hello")).rejects.toThrow("ECONNREFUSED");
  });

  it("a caller without a sidecar is told that it needs one", async () => {
    const answer = await front.directly(`http://${net}.32.0:8080/items`);
    expect(answer).toMatchObject({ status: 403 });
    expect(answer.text).toContain("mutual TLS");
  });

  it("an open connection to the proxy obeys a changed policy", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const sockets = new Set<unknown>();
    agent.on("free", (socket) => sockets.add(socket));
    const url = "http://cart.shop/items";
    const answers = (status: number) =>
      eventually(`${status} is answered`, async () =>
        (await front.requestBy(agent, url)).status === status ? true : undefined,
      );
    try {
      await answers(200);
      front.configure(nothingGranted);
      await answers(403);
      front.configure(granted);
      await answers(200);
      expect(sockets.size).toBe(1);
    } finally {
      front.configure(granted);
      agent.destroy();
    }
  });

  it("a workload whose health check fails answers at once, and its callers' open connections are left for new ones", async () => {
    // one connection to the proxy is one worker of it, which has one connection to the service
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const opened = () => front.stat("cluster.outbound.cluster.shop.cart.80.upstream_cx_total");
    const answers = (status: number) =>
      eventually(`${status} is answered`, async () => {
        const answer = await front.requestBy(agent, "http://cart.shop/items");
        return answer.status === status ? answer.text : undefined;
      });
    try {
      await answers(200);
      const before = await opened();
      await answers(200);
      expect(await opened()).toBe(before);
      cart.configure(granted, { unready: true });
      expect(await answers(503)).toContain("health check fails");
      await eventually("a new connection", async () => {
        await answers(503);
        return (await opened()) > before ? true : undefined;
      });
    } finally {
      cart.configure(granted);
    }
    await answers(200);
    agent.destroy();
  });

  it("a tunnel passes by an endpoint that takes no connections", async () => {
    const oneDead = granted.replaceAll("port: 9000 }]", `port: 9000 }, { address: ${net}.32.9, port: 9000 }]`);
    expect(oneDead).not.toBe(granted);
    front.configure(oneDead);
    try {
      const cluster = "outbound|cluster|shop|cart|5432";
      await eventually("both endpoints are known", async () =>
        (await front.stat(`cluster.${cluster.replaceAll("|", ".")}.membership_total`)) === 2 ? true : undefined,
      );
      const open = "CONNECT cart.shop:5432 HTTP/1.1\r\nhost: cart.shop:5432\r\n\r\n";
      for (let tunnel = 0; tunnel < 6; tunnel += 1) {
        const opened = await conversation(`${net}.16.0`, 15001, `${open}hello`, "hello");
        expect(opened.endsWith("welcome\nhello")).toBe(true);
      }
    } finally {
      front.configure(granted);
    }
  });

  it("an https address outside the mesh is not called in plaintext: it needs a tunnel", async () => {
    const host = `localhost:${OUTSIDE}`;
    const asked = `GET https://${host}/ HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`;
    const answer = await conversation(`${net}.16.0`, 15001, asked, "CONNECT");
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain("tunnel (CONNECT)");
  });

  it("a host outside the mesh is reached as by any proxy, and a request that comes back to it is ended", async () => {
    const outside: Server = createServer((request, response) => response.end(`outside ${request.headers.via ?? ""}`));
    await new Promise<void>((resolve) => outside.listen(OUTSIDE, "127.0.0.1", resolve));
    try {
      const url = `http://localhost:${OUTSIDE}/`;
      expect(await front.byProxy(url)).toEqual({ status: 200, text: "outside 1.1 isthmus" });
      // what is inside a tunnel is nobody else's to read
      expect(await front.byProxy("-p", url)).toEqual({ status: 200, text: "outside " });
      expect(await front.byProxy(`http://${net}.16.0:15001/`)).toMatchObject({ status: 508 });
    } finally {
      await new Promise((resolve) => outside.close(resolve));
    }
  });

  it("a second proxy that claims an address is refused it, and what the first has stays its own", async () => {
    const claims = member("claims", `${net}.32.0`, cart.bound.applications);
    claims.configure(granted);
    try {
      await claims.startProxy();
      expect(await claims.stat("listener_manager.total_listeners_active")).toBe(0);
      expect(await front.byProxy("http://cart.shop/items")).toMatchObject({ status: 200 });
    } finally {
      await claims.proxy?.stop();
    }
  });
});
