// The HTTPS server behind the APIService: carries a request of the API server to `answer`, and its reply back. TLS ends here with a client
// certificate of the aggregator or not at all. Both certificates may be replaced while it runs.
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Log } from "../../shared/log.ts";
import { failure, type Reply } from "./answer.ts";
import { isAllowed, type FrontProxy } from "./front-proxy.ts";

export interface ServingIdentity {
  readonly keyPem: string;
  /** Leaf first. */
  readonly chainPem: string;
  readonly frontProxy: FrontProxy;
}

export interface ServerOptions {
  readonly port: number;
  readonly host?: string;
  readonly identity: ServingIdentity;
  readonly answer: (url: URL, signal: AbortSignal) => Promise<Reply>;
  readonly log: Log;
}

export interface TrafficMetricsServer {
  readonly port: number;
  /** New connections see it. */
  renew(identity: ServingIdentity): void;
  close(): Promise<void>;
}

/** Prometheus and the API server together; the aggregator waits longer. */
const ANSWER_MS = 15_000;
const MAX_CONNECTIONS = 256;

function tlsOptions({ keyPem, chainPem, frontProxy }: ServingIdentity) {
  const client = { ca: frontProxy.caPem, requestCert: true, rejectUnauthorized: true };
  return { key: keyPem, cert: chainPem, minVersion: "TLSv1.2" as const, ...client };
}

function commonNameOf(request: IncomingMessage): string {
  // of an HTTPS server every socket is one
  const { subject } = (request.socket as unknown as Pick<TLSSocket, "getPeerCertificate">).getPeerCertificate();
  const name = (subject as { readonly CN?: unknown } | undefined)?.CN;
  return typeof name === "string" ? name : "";
}

function send(response: ServerResponse, { status, body }: Reply): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
}

export async function startTrafficMetricsServer(options: ServerOptions): Promise<TrafficMetricsServer> {
  let { identity } = options;
  const reply = async (request: IncomingMessage): Promise<Reply> => {
    const commonName = commonNameOf(request);
    if (!isAllowed(identity.frontProxy, commonName)) return failure(403, `${commonName} is not the API server`);
    if (request.method !== "GET") return failure(405, "TrafficMetrics are measured: they can be read only");
    return options.answer(new URL(request.url ?? "/", "https://localhost"), AbortSignal.timeout(ANSWER_MS));
  };
  const respond = async (request: IncomingMessage, response: ServerResponse) => {
    try {
      send(response, await reply(request));
    } catch (error) {
      options.log.error("a question about traffic could not be answered", { url: request.url ?? "" }, error);
      send(response, failure(500, "the agent could not answer; its log says why"));
    }
  };
  const server = createServer(
    { ...tlsOptions(identity), requestTimeout: ANSWER_MS, headersTimeout: ANSWER_MS },
    (request, response) => void respond(request, response),
  );
  server.maxConnections = MAX_CONNECTIONS;
  await listening(server, options);
  return {
    port: (server.address() as AddressInfo).port,
    renew: (next) => {
      identity = next;
      server.setSecureContext(tlsOptions(next));
    },
    close: () => closed(server),
  };
}

function listening(server: Server, { port, host }: ServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host ?? "::", () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
