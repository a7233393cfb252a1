// The HTTPS server that the API server asks about new pods (POST /inject) and for SMI objects in another version (POST
// /convert). It only carries: parse, decide, answer. Sizes and
// times are bounded; whatever comes in, the answer is a review or a 4xx, as a 5xx under failurePolicy Fail stops every rollout.
// Serves the certificate it was given last: a renewal needs no restart and closes no connection.
import { createServer, type Server } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Log } from "../../shared/log.ts";
import type { Problem } from "../../shared/result.ts";
import { allowed, denied, parseReview, type AdmissionAnswer, type AdmissionRequest } from "./admission-review.ts";
import { answerConversion, type ConversionAnswer } from "./conversion-review.ts";
import { decideInjection, type NamespaceFacts } from "./decide.ts";
import { parsePodToInject } from "./pod.ts";
import type { InjectionSettings } from "./settings.ts";

export interface ServingCertificate {
  readonly keyPem: string;
  /** Leaf first. */
  readonly chainPem: string;
}

export type WebhookOutcome = "injected" | "skipped" | "denied" | "converted" | "unconvertible" | "malformed" | "failed";

export interface WebhookOptions {
  readonly port: number;
  readonly host?: string;
  readonly certificate: ServingCertificate;
  readonly settings: () => InjectionSettings;
  /**
   * Facts of a namespace. The webhook's selector has already matched its label: where the watch does not show that yet, it must be
   * read from the API server, else the first pods of a new namespace would stay outside the mesh. undefined when it does not exist.
   */
  readonly namespace: (name: string, signal: AbortSignal) => Promise<NamespaceFacts | undefined>;
  readonly observe: (outcome: WebhookOutcome, detail: string, ms: number) => void;
  readonly log: Log;
}

export interface WebhookServer {
  readonly port: number;
  /** From now on new connections see this certificate. */
  renew(certificate: ServingCertificate): void;
  close(): Promise<void>;
}

/** An object in etcd has at most 1.5 MiB; a review holds it once (create) and is JSON. */
const MAX_REVIEW_BYTES = 4 * 1024 * 1024;
/** The API server converts object by object; a list of a few is no mistake. */
const MAX_CONVERSION_BYTES = 16 * 1024 * 1024;
/** The API server waits 10 s by default (30 at most); a reader slower than this holds a connection for nothing. */
const REQUEST_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 1_000;
/** For answers under way at the end. An API server also opens connections on which it never asks, and those do not count as idle. */
const CLOSING_MS = 1_000;

interface Handled {
  readonly outcome: WebhookOutcome;
  readonly detail: string;
  readonly status: number;
  readonly body: AdmissionAnswer | ConversionAnswer | { readonly message: string };
}

function refuse(status: number, message: string): Handled {
  return { outcome: "malformed", detail: String(status), status, body: { message } };
}

async function readBody(request: IncomingMessage, maxBytes: number): Promise<string | undefined> {
  // no byte is taken of what says itself that it is too large
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) return undefined;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function deny(uid: string, problems: readonly Problem[]): Handled {
  return { outcome: "denied", detail: problems[0]?.code ?? "", status: 200, body: denied(uid, problems) };
}

function pass(uid: string, reason: string): Handled {
  return { outcome: "skipped", detail: reason, status: 200, body: allowed(uid, []) };
}

async function handlePod(request: AdmissionRequest, options: WebhookOptions): Promise<Handled> {
  const { uid } = request;
  if (request.kind !== "Pod" || request.operation !== "CREATE") return pass(uid, "not-a-new-pod");
  const pod = parsePodToInject(request.object);
  if (!pod.ok) return deny(uid, pod.error);
  const namespace = await options.namespace(request.namespace, AbortSignal.timeout(REQUEST_TIMEOUT_MS / 2));
  if (namespace === undefined) return pass(uid, "namespace-unknown");
  const decided = decideInjection(pod.value, namespace, options.settings());
  if (!decided.ok) return deny(uid, decided.error);
  const body = allowed(uid, decided.value.patch);
  if (decided.value.inject) return { outcome: "injected", detail: "", status: 200, body };
  return { outcome: "skipped", detail: decided.value.reason, status: 200, body };
}

interface Endpoint {
  readonly maxBytes: number;
  readonly answer: (text: string, options: WebhookOptions) => Handled | Promise<Handled>;
}

const endpoints: ReadonlyMap<string, Endpoint> = new Map<string, Endpoint>([
  ["/inject", { maxBytes: MAX_REVIEW_BYTES, answer: answerReview }],
  ["/convert", { maxBytes: MAX_CONVERSION_BYTES, answer: answerConversionReview }],
]);

async function handle(request: IncomingMessage, options: WebhookOptions): Promise<Handled> {
  const endpoint = endpoints.get(request.url?.split("?", 1)[0] ?? "");
  if (endpoint === undefined) return refuse(404, "the agent answers on /inject and /convert");
  if (request.method !== "POST") return refuse(405, "send a review by POST");
  if (!/^application\/json\b/.test(request.headers["content-type"] ?? "")) {
    return refuse(415, "send application/json");
  }
  const text = await readBody(request, endpoint.maxBytes);
  if (text === undefined) return refuse(413, `the request is larger than ${endpoint.maxBytes} bytes`);
  return await endpoint.answer(text, options);
}

async function answerReview(text: string, options: WebhookOptions): Promise<Handled> {
  const review = parseReview(text);
  if (!review.ok) return malformed(review.error);
  try {
    return await handlePod(review.value, options);
  } catch (error) {
    // the pod is refused with a reason that its author can pass on, and the log has the rest
    options.log.error("admission failed", { namespace: review.value.namespace }, error);
    const message = "the injector could not decide; its log says why, and a retry may help";
    const body = denied(review.value.uid, [{ code: "ISTHMUS_INJECTION_FAILED", message }]);
    return { outcome: "failed", detail: "exception", status: 200, body };
  }
}

function answerConversionReview(text: string): Handled {
  const answer = answerConversion(text);
  if (!answer.ok) return malformed(answer.error);
  const { result } = answer.value.response;
  const outcome = result.status === "Success" ? "converted" : "unconvertible";
  return { outcome, detail: "", status: 200, body: answer.value };
}

function malformed(problems: readonly Problem[]): Handled {
  return refuse(400, problems.map(({ field, message }) => `${field ?? "body"}: ${message}`).join("; "));
}

function send(response: ServerResponse, handled: Handled): void {
  const text = JSON.stringify(handled.body);
  // an unread rest of a body must not be taken for the next request
  if (handled.status >= 400) response.setHeader("connection", "close");
  response.writeHead(handled.status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
}

async function respond(request: IncomingMessage, response: ServerResponse, options: WebhookOptions): Promise<void> {
  const started = performance.now();
  try {
    const handled = await handle(request, options);
    send(response, handled);
    options.observe(handled.outcome, handled.detail, performance.now() - started);
  } catch {
    // the client went away or was too slow while its body was read: nobody is left to answer
    response.destroy();
    options.observe("malformed", "aborted", performance.now() - started);
  }
}

/** API servers and kubelets of today speak TLS 1.3; 1.2 is for aggregators and proxies in between. */
function tlsOptions({ keyPem, chainPem }: ServingCertificate): { key: string; cert: string; minVersion: "TLSv1.2" } {
  return { key: keyPem, cert: chainPem, minVersion: "TLSv1.2" };
}

async function listening(server: Server, options: WebhookOptions): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host ?? "::", () => {
      server.off("error", reject);
      resolve();
    });
  });
}

export async function startWebhookServer(options: WebhookOptions): Promise<WebhookServer> {
  const server = createServer(
    { ...tlsOptions(options.certificate), requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS / 2 },
    (request, response) => void respond(request, response, options),
  );
  server.maxConnections = MAX_CONNECTIONS;
  await listening(server, options);
  server.on("error", (error) => options.log.error("webhook server", {}, error));
  // scanners and health checks that speak no TLS are not worth a line each
  server.on("tlsClientError", () => undefined);
  return {
    port: (server.address() as AddressInfo).port,
    renew: (certificate) => server.setSecureContext(tlsOptions(certificate)),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const rest = setTimeout(() => server.closeAllConnections(), CLOSING_MS);
      await closed;
      clearTimeout(rest);
    },
  };
}
