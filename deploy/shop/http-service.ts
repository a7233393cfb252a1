// One service of the shop: answers every path with who it is and who called, so that a person sees where a request
// went and with which identity. /call and /load make requests of its own, through its own sidecar.
import http from "node:http";
import { clusterOf, parseClientCertHeader } from "./caller-identity.ts";
import { request, runLoad } from "./outbound.ts";

export interface ShopIdentity {
  readonly service: string;
  /** Used until a caller's sidecar has told which cluster this is. */
  readonly cluster: string;
  readonly pod: string;
  /** Services this one asks for its page, name to URL. */
  readonly upstreams: ReadonlyMap<string, string>;
}

const MAX_RPS = 2000;
const MAX_SECONDS = 600;

export function createShopServer(identity: ShopIdentity, signal: AbortSignal): http.Server {
  return http.createServer((incoming, response) => {
    const peers = parseClientCertHeader(headerOf(incoming, "x-forwarded-client-cert"));
    const cluster = clusterOf(peers.self) ?? identity.cluster;
    const about = { service: identity.service, cluster, pod: identity.pod, caller: peers.caller ?? null };
    const send = (status: number, body: object) => {
      response.writeHead(status, {
        "content-type": "application/json",
        "x-shop-service": about.service,
        "x-shop-cluster": about.cluster,
        "x-shop-pod": about.pod,
      });
      response.end(`${JSON.stringify({ ...about, ...body })}\n`);
    };
    incoming.resume();
    answer(incoming, identity, signal).then(
      ({ status, body }) => send(status, body),
      (error: unknown) => send(500, { error: error instanceof Error ? error.message : String(error) }),
    );
  });
}

interface Reply {
  readonly status: number;
  readonly body: object;
}

async function answer(incoming: http.IncomingMessage, identity: ShopIdentity, signal: AbortSignal): Promise<Reply> {
  const url = new URL(incoming.url ?? "/", "http://shop");
  switch (url.pathname) {
    case "/call":
      return callOther(url);
    case "/load":
      return loadOther(url, signal);
    case "/page":
      return page(identity);
    default:
      return { status: 200, body: { method: incoming.method, path: incoming.url } };
  }
}

/** GET /call?url=URL[&method=POST]: makes one request and reports its answer; 200 even if that one failed. */
async function callOther(url: URL): Promise<Reply> {
  const target = url.searchParams.get("url");
  if (target === null || !URL.canParse(target)) return badRequest("url: give the URL to call");
  const { status, body, error, ms } = await request(target, { method: url.searchParams.get("method") ?? "GET" });
  return { status: 200, body: { called: target, answer: { status, error, ms, body: parsed(body) } } };
}

/** GET /load?url=URL[&rps=50][&seconds=5][&method=GET]: counts what fails. */
async function loadOther(url: URL, signal: AbortSignal): Promise<Reply> {
  const target = url.searchParams.get("url");
  if (target === null || !URL.canParse(target)) return badRequest("url: give the URL to call");
  const rps = Number(url.searchParams.get("rps") ?? 50);
  const seconds = Number(url.searchParams.get("seconds") ?? 5);
  if (!(rps > 0 && rps <= MAX_RPS)) return badRequest(`rps: a number from 1 to ${MAX_RPS}`);
  if (!(seconds > 0 && seconds <= MAX_SECONDS)) return badRequest(`seconds: a number up to ${MAX_SECONDS}`);
  const method = url.searchParams.get("method") ?? "GET";
  return { status: 200, body: { called: target, load: await runLoad({ url: target, rps, seconds, method }, signal) } };
}

/** GET /page: what a visitor of the shop sees, one part from every upstream. */
async function page(identity: ShopIdentity): Promise<Reply> {
  const parts = [...identity.upstreams].map(async ([name, target]) => {
    const { status, error, ms, body } = await request(target);
    return [name, { status, error, ms, body: parsed(body) }] as const;
  });
  return { status: 200, body: { parts: Object.fromEntries(await Promise.all(parts)) } };
}

function badRequest(message: string): Reply {
  return { status: 400, body: { error: message } };
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return body; // Envoy's own answers are plain text
  }
}

function headerOf(incoming: http.IncomingMessage, name: string): string | undefined {
  const value = incoming.headers[name];
  return Array.isArray(value) ? value.join(",") : value;
}
