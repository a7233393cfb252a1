import { createServer, connect, type AddressInfo, type Server } from "node:net";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { afterEach, describe, expect, it } from "vitest";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

let cleanUp: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const work of cleanUp) await work();
  cleanUp = [];
});

async function echoServer(): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined); // the proxy's resets arrive here
    socket.pipe(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanUp.push(() => new Promise((resolve) => server.close(resolve)));
  return server;
}

async function proxyTo(server: Server, delayMs: number): Promise<TcpProxy> {
  const { port } = server.address() as AddressInfo;
  const proxy = await startTcpProxy({
    listen: { host: "127.0.0.1", port: 0 },
    to: { host: "127.0.0.1", port },
    delayMs,
    jitterMs: 5,
    random: Math.random,
  });
  cleanUp.unshift(() => proxy.close());
  return proxy;
}

describe("the TCP proxy with latency", () => {
  it("delivers every byte in order, not before twice the delay", async () => {
    const proxy = await proxyTo(await echoServer(), 50);
    const socket = connect(proxy.port, "127.0.0.1");
    const started = performance.now();
    const sent = Array.from({ length: 200 }, (_, index) => `line ${index}\n`).join("");
    for (const line of sent.split(/(?<=\n)/)) socket.write(line);
    socket.end();
    expect(await text(socket)).toBe(sent);
    expect(performance.now() - started).toBeGreaterThanOrEqual(100);
  });

  it("changes its delay for connections that are open", async () => {
    const proxy = await proxyTo(await echoServer(), 0);
    const socket = connect(proxy.port, "127.0.0.1");
    socket.write("a");
    await once(socket, "data");
    proxy.setDelayMs(80);
    const started = performance.now();
    socket.write("b");
    await once(socket, "data");
    expect(performance.now() - started).toBeGreaterThanOrEqual(160);
    socket.destroy();
  });

  it("resets open connections on demand and when the peer is gone", async () => {
    const server = await echoServer();
    const proxy = await proxyTo(server, 0);
    const socket = connect(proxy.port, "127.0.0.1");
    socket.write("a");
    await once(socket, "data");
    proxy.reset();
    const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ECONNRESET");
  });
});
