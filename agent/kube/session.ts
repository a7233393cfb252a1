// One HTTP/2 session to the API server, made when needed and replaced when it dies. Used by client.ts only.
// HTTP/2 because of its PING: a half-open connection (node gone, NAT entry lost) is silent for ever on HTTP/1.1, and the
// API server's own bookmarks come only once a minute. All watches share the session, so all learn of its death at once.
import { connect, constants, type ClientHttp2Session } from "node:http2";
import { ApiError } from "./api-error.ts";
import type { Connection } from "./connection.ts";

export interface SessionOptions {
  /** A PING this often; unanswered until the next one is due means dead: detected within twice this time. */
  readonly pingIntervalMs: number;
  readonly connectTimeoutMs: number;
}

export const defaultSessionOptions: SessionOptions = { pingIntervalMs: 10_000, connectTimeoutMs: 10_000 };

/** A slow reader of one list must not stall every watch: the session's window is far larger than a stream's. */
const SESSION_WINDOW_BYTES = 16 * 1024 * 1024;
const STREAM_WINDOW_BYTES = 1024 * 1024;

export interface SessionHolder {
  /** The live session, or a new one; callers that come together share one handshake. */
  get(): Promise<ClientHttp2Session>;
  /** Lets streams in flight finish but gives no new ones to this session: its credentials are stale. */
  retire(): void;
  /** Resolves when the next session is made. */
  next(): Promise<void>;
  close(): void;
}

export function holdSession(connection: Connection, options: SessionOptions): SessionHolder {
  let current: ClientHttp2Session | undefined;
  let opening: Promise<ClientHttp2Session> | undefined;
  let closed = false;
  let opened = Promise.withResolvers<undefined>();

  const open = async () => {
    const session = await openSession(connection, options);
    if (closed) {
      session.destroy();
      throw new ApiError("unreachable", "the client is closed");
    }
    const leave = () => {
      if (current === session) current = undefined;
    };
    session.once("close", leave).once("goaway", leave);
    current = session;
    opened.resolve(undefined);
    opened = Promise.withResolvers<undefined>();
    return session;
  };

  return {
    get: () => {
      if (closed) return Promise.reject(new ApiError("unreachable", "the client is closed"));
      if (current !== undefined && !current.closed && !current.destroyed) return Promise.resolve(current);
      opening ??= open().finally(() => {
        opening = undefined;
      });
      return opening;
    },
    retire: () => {
      const session = current;
      current = undefined;
      session?.close();
    },
    next: () => opened.promise,
    close: () => {
      closed = true;
      current?.destroy();
      current = undefined;
    },
  };
}

async function openSession(connection: Connection, options: SessionOptions): Promise<ClientHttp2Session> {
  const tls = await connection.tls();
  const { server } = connection;
  return await new Promise((resolve, reject) => {
    const session = connect(server.origin, { ...tls, settings: { initialWindowSize: STREAM_WINDOW_BYTES } });
    const fail = (cause: unknown) => {
      clearTimeout(timer);
      session.destroy();
      reject(
        new ApiError("unreachable", `cannot connect to the API server ${server.host}: ${reasonOf(cause)}`, { cause }),
      );
    };
    const timer = setTimeout(() => fail(new Error("no answer in time")), options.connectTimeoutMs);
    session.once("error", fail);
    session.once("close", () => fail(new Error("closed during the handshake")));
    // the TCP and TLS handshakes are done, but only the server's SETTINGS prove that it speaks HTTP/2
    session.once("remoteSettings", () => {
      clearTimeout(timer);
      session.off("error", fail);
      session.on("error", ignore); // each stream on the session reports the failure to whoever waits for it
      session.setLocalWindowSize(SESSION_WINDOW_BYTES);
      keepPinging(session, options.pingIntervalMs);
      resolve(session);
    });
  });
}

function keepPinging(session: ClientHttp2Session, intervalMs: number): void {
  let answered = true;
  const timer = setInterval(() => {
    if (session.destroyed) return;
    if (!answered) {
      session.destroy(new Error("the connection to the API server is silent"), constants.NGHTTP2_CANCEL);
      return;
    }
    answered = false;
    session.ping((error) => {
      if (error === null) answered = true;
    });
  }, intervalMs);
  timer.unref();
  session.once("close", () => clearInterval(timer));
}

/** An EventEmitter without a listener for `error` ends the process. */
function ignore(): void {
  return;
}

/** AggregateError (several addresses tried) has an empty message of its own. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join("; ");
  return error instanceof Error ? error.message : String(error);
}
