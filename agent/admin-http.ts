// The agent's HTTP surface: health for the kubelet, metrics for Prometheus, and what a person debugging wants to see.
// Reads state through functions; holds no rule. In a pod served on all its addresses, guarded by the NetworkPolicy; nothing
// secret is in it (SDS contents are never shown).
import express, { type Response } from "express";
import type { Server } from "node:http";
import type { Registry } from "prom-client";

export interface AckNote {
  /** ms since 1970, with fractions. */
  readonly atMs: number;
  readonly pod: string;
  readonly type: string;
  readonly resources: readonly { readonly name: string; readonly version: string; readonly value?: unknown }[];
  readonly removed: readonly string[];
}

export type DebugViews = Readonly<Record<string, () => unknown>>;

export interface AdminViews {
  /** Undefined when ready; else what is still missing. */
  readonly notReady: () => string | undefined;
  /** Resolves when it is ready for the first time. */
  readonly firstReady: Promise<undefined>;
  readonly metrics: Registry;
  /** Named views under /debug/NAME. */
  readonly debug: () => DebugViews;
  /** Calls the listener at every ACK of a resource of `type`, with its content when it is not secret; returns the way to stop. */
  readonly onAck: (type: string, listener: (note: AckNote) => void) => () => void;
}

/** The views, filled in as the agent gets further: before it has joined there is only health to see. */
export interface AdminSurface {
  readonly views: AdminViews;
  setMissing(missing: string | undefined): void;
  setDebug(debug: DebugViews): void;
  setAcks(onAck: AdminViews["onAck"]): void;
}

export function createAdminSurface(metrics: Registry): AdminSurface {
  let missing: string | undefined = "this cluster has not joined a fleet yet";
  let debug: DebugViews = {};
  let onAck: AdminViews["onAck"] = () => () => undefined;
  const first = Promise.withResolvers<undefined>();
  return {
    views: {
      metrics,
      notReady: () => missing,
      firstReady: first.promise,
      debug: () => debug,
      onAck: (type, listener) => onAck(type, listener),
    },
    setMissing: (now) => {
      missing = now;
      if (now === undefined) first.resolve(undefined);
    },
    setDebug: (now) => {
      debug = now;
    },
    setAcks: (now) => {
      onAck = now;
    },
  };
}

/** `host` absent: every address of the pod. */
export function startAdminServer(views: AdminViews, port: number, host?: string): Promise<Server> {
  const app = express();
  app.disable("x-powered-by");
  app.get("/healthz", (_request, response) => void response.send("ok\n"));
  app.get("/readyz", async (request, response) => {
    const { waitMs } = request.query;
    if (typeof waitMs === "string" && views.notReady() !== undefined) await atMost(views.firstReady, Number(waitMs));
    const missing = views.notReady();
    response.status(missing === undefined ? 200 : 503).send(`${missing ?? "ok"}\n`);
  });
  app.get("/metrics", async (_request, response) => {
    response.type(views.metrics.contentType).send(await views.metrics.metrics());
  });
  app.get("/debug/acks", (request, response) => {
    const { type } = request.query;
    followAcks(views, typeof type === "string" ? type : "eds", response);
  });
  app.get("/debug/:view", (request, response) => {
    const debug = views.debug();
    const view = Object.hasOwn(debug, request.params.view) ? debug[request.params.view] : undefined;
    if (view === undefined) response.status(404).send(`views: acks, ${Object.keys(debug).join(", ")}\n`);
    else response.json(view());
  });
  return new Promise((resolve, reject) => {
    const listening = (error?: Error) => {
      if (error === undefined) resolve(server);
      else reject(new Error(`cannot listen on port ${port} for health and metrics`, { cause: error }));
    };
    const server = host === undefined ? app.listen(port, listening) : app.listen(port, host, listening);
  });
}

const MAX_WAIT_MS = 5_000;

/** A probe that asks each second would see a start half a second late; once ready, the answer is never held back. */
async function atMost(promise: Promise<undefined>, waitMs: number): Promise<void> {
  const timeUp = Promise.withResolvers<undefined>();
  const limitMs = waitMs > 0 ? Math.min(waitMs, MAX_WAIT_MS) : 0; // also when it is no number
  const timer = setTimeout(() => timeUp.resolve(undefined), limitMs);
  await Promise.race([promise, timeUp.promise]);
  clearTimeout(timer);
}

/** One JSON line for every ACK, as it happens: the propagation bench reads it, and a person with curl can. */
function followAcks(views: AdminViews, type: string, response: Response): void {
  response.type("application/x-ndjson");
  response.flushHeaders();
  const stop = views.onAck(type, (note) => response.write(`${JSON.stringify(note)}\n`));
  response.on("close", stop);
}
