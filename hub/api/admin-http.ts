// The hub's HTTP listener: health for Kubernetes, metrics for Prometheus. Says nothing about the fleet's secrets and takes
// no command; those come by the operator's socket.
import express, { type Express, type Request, type Response } from "express";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { UserError } from "../../shared/errors.ts";
import type { HubMetrics } from "./metrics.ts";

export interface Readiness {
  readonly ready: boolean;
  /** Why not, for a person. */
  readonly reason: string;
}

export function adminApp(metrics: HubMetrics, readiness: () => Readiness): Express {
  const app = express().disable("x-powered-by");
  app.get("/healthz", (_request: Request, response: Response) => void response.type("text").send("ok\n"));
  app.get("/readyz", (_request: Request, response: Response) => {
    const { ready, reason } = readiness();
    response
      .status(ready ? 200 : 503)
      .type("text")
      .send(ready ? "ok\n" : `${reason}\n`);
  });
  app.get("/metrics", async (_request: Request, response: Response) => {
    response.type(metrics.registry.contentType).send(await metrics.registry.metrics());
  });
  return app;
}

export interface HttpListener {
  readonly port: number;
  close(): Promise<void>;
}

/** `address` is `host:port` of TCP, or the path of a Unix socket. */
export async function listenHttp(app: Express, address: string): Promise<HttpListener> {
  const server = createServer({ requestTimeout: 15_000, headersTimeout: 10_000 }, app);
  try {
    if (address.startsWith("/")) server.listen(address);
    else server.listen(splitAddress(address));
    await once(server, "listening");
  } catch (cause) {
    throw new UserError("ISTHMUS_LISTEN", `cannot listen on ${address}`, {
      cause,
      hint: "another program has the port, or the address is not of this machine",
    });
  }
  const bound = server.address();
  return { port: typeof bound === "object" && bound !== null ? bound.port : 0, close: () => closeServer(server) };
}

function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(address.slice(colon + 1)) };
}

async function closeServer(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeIdleConnections();
  const overdue = setTimeout(() => server.closeAllConnections(), 2_000);
  await closed;
  clearTimeout(overdue);
}
