// One request to the API server over the shared session: send, read the whole answer, turn failures into ApiError.
// Used by client.ts and watch-stream.ts only.
import type { ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { ApiError, apiErrorOf } from "./api-error.ts";
import type { Connection } from "./connection.ts";
import { isObject, type JsonObject } from "./json.ts";
import { pathOf, titleOf, type ObjectPath } from "./resources.ts";
import { reasonOf, type SessionHolder, type SessionOptions } from "./session.ts";

export interface ClientOptions extends SessionOptions {
  readonly requestTimeoutMs: number;
  readonly userAgent: string;
}

export type Query = Readonly<Record<string, string>>;

export interface Wire {
  readonly connection: Connection;
  readonly options: ClientOptions;
  readonly sessions: SessionHolder;
}

export interface Call {
  readonly method: string;
  readonly at: ObjectPath;
  readonly query?: Query;
  readonly body?: JsonObject;
  /** JSON unless said otherwise. */
  readonly contentType?: string;
  readonly signal?: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly stream: ClientHttp2Stream;
}

export async function exchange(wire: Wire, call: Call): Promise<JsonObject> {
  const { requestTimeoutMs } = wire.options;
  const timeout = AbortSignal.timeout(requestTimeoutMs);
  const signal = call.signal === undefined ? timeout : AbortSignal.any([call.signal, timeout]);
  const what = `${call.method} ${titleOf(call.at)}`;
  try {
    const answer = await send(wire, call, signal);
    return await readBody(wire, what, answer);
  } catch (error) {
    if (call.signal?.aborted === true) throw call.signal.reason;
    if (timeout.aborted) {
      throw new ApiError("unreachable", `${what}: no answer in ${requestTimeoutMs} ms`, { cause: error });
    }
    throw error instanceof ApiError
      ? error
      : new ApiError("unreachable", `${what}: ${reasonOf(error)}`, { cause: error });
  }
}

export async function send(wire: Wire, call: Call, signal: AbortSignal): Promise<Answer> {
  const session = await wire.sessions.get();
  const credentials = await wire.connection.headers();
  signal.throwIfAborted();
  const query = new URLSearchParams(call.query).toString();
  const prefix = wire.connection.server.pathname.replace(/\/$/, "");
  const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
  const stream = session.request(
    {
      ":method": call.method,
      ":path": `${prefix}${pathOf(call.at)}${query === "" ? "" : `?${query}`}`,
      accept: "application/json",
      "user-agent": wire.options.userAgent,
      ...(body === undefined ? {} : { "content-type": call.contentType ?? "application/json" }),
      ...credentials,
    },
    { endStream: body === undefined, signal },
  );
  if (body !== undefined) stream.end(body);
  return await new Promise((resolve, reject) => {
    stream.once("error", reject);
    stream.once("close", () => reject(new Error("the connection broke off")));
    stream.once("response", (headers) => {
      stream.off("error", reject);
      stream.on("error", () => undefined); // whoever reads the body gets the error from its iterator
      resolve({ status: headers[":status"] ?? 0, headers, stream });
    });
  });
}

export async function readBody(wire: Wire, what: string, answer: Answer): Promise<JsonObject> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer.stream) chunks.push(chunk as Buffer);
  assertWhole(answer.stream, what);
  const body = parseJson(Buffer.concat(chunks).toString("utf8"));
  if (answer.status >= 200 && answer.status < 300) {
    if (!isObject(body)) throw new ApiError("unreachable", `${what}: the answer is not a JSON object`);
    return body;
  }
  if (answer.status === 401) {
    wire.connection.forget();
    wire.sessions.retire();
  }
  const retryAfterMs = Number(answer.headers["retry-after"] ?? 0) * 1000;
  throw apiErrorOf(what, answer.status, body, Number.isFinite(retryAfterMs) ? retryAfterMs : 0);
}

/** A session that dies ends its streams as if they were complete: only the stream's code tells (RFC 9113 section 7). */
export function assertWhole(stream: ClientHttp2Stream, what: string): void {
  if (stream.aborted || stream.rstCode > 0) throw new ApiError("unreachable", `${what}: the connection broke off`);
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined; // a proxy's error page, or a body that broke off: the caller says which
  }
}
