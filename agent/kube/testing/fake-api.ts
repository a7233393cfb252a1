// A hand-written API server for what a real one cannot be made to do: lists that break off, watches that end at once,
// refused credentials. HTTP/2 without TLS on loopback. It knows no Kubernetes: each test says what is answered.
import {
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import type { Connection } from "../connection.ts";

export interface FakeCall {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly stream: ServerHttp2Stream;
  json(status: number, body: unknown, headers?: Readonly<Record<string, string>>): void;
  /** Starts a watch; the events are written by the test, one line each. */
  watch(): { send(type: string, object: unknown): void; end(): void };
}

export interface FakeApi {
  readonly connection: Connection;
  /** Credentials were given up this often. */
  forgotten(): number;
  /** Ends every session without a word, as a killed server does. */
  cut(): void;
  close(): Promise<void>;
}

export async function startFakeApi(answer: (call: FakeCall) => void): Promise<FakeApi> {
  const server: Http2Server = createServer();
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => undefined).on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on("error", () => undefined);
    answer(callOf(stream, headers));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  let forgotten = 0;
  return {
    connection: {
      server: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
      tls: () => Promise.resolve({}),
      headers: () => Promise.resolve({ authorization: `Bearer generation-${forgotten}` }),
      forget: () => {
        forgotten += 1;
      },
    },
    forgotten: () => forgotten,
    cut: () => {
      for (const session of sessions) session.socket.destroy();
    },
    close: async () => {
      for (const session of sessions) session.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

function callOf(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): FakeCall {
  const url = new URL(headers[":path"] ?? "/", "http://fake");
  return {
    method: headers[":method"] ?? "",
    path: url.pathname,
    query: url.searchParams,
    headers,
    stream,
    json: (status, body, more = {}) => {
      stream.respond({ ":status": status, "content-type": "application/json", ...more });
      stream.end(JSON.stringify(body));
    },
    watch: () => {
      stream.respond({ ":status": 200 });
      return {
        send: (type, object) => stream.write(`${JSON.stringify({ type, object })}\n`),
        end: () => stream.end(),
      };
    },
  };
}
