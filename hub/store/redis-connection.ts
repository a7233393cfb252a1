// Opens connections to Redis with the rules that keep a hub alive when Redis is not: no queue while disconnected, every
// command has a deadline, a replica that answers READONLY is left. The only place that knows ioredis's options.
import { Redis, type RedisOptions } from "ioredis";
import { readFileSync } from "node:fs";
import { UserError } from "../../shared/errors.ts";

export type RedisTarget =
  | { readonly kind: "socket"; readonly path: string }
  | { readonly kind: "url"; readonly url: URL; readonly caFile: string | undefined };

/** A command that takes longer is answered "unknown outcome"; the idempotency key makes the retry safe. */
const commandTimeoutMs = 2_000;
/** The change feed waits this long in one XREAD; a silent peer is given up after the grace. */
export const feedBlockMs = 5_000;
const feedGraceMs = 3_000;

/** Without the one option whose type refuses `undefined`. */
type Options = Omit<RedisOptions, "replyMapping">;

const common: Options = {
  protocol: 2,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  enableReadyCheck: true,
  lazyConnect: true,
  connectTimeout: 5_000,
  keepAlive: 5_000,
  noDelay: true,
  retryStrategy: (attempt) => Math.min(50 * 2 ** Math.min(attempt, 6), 2_000),
  reconnectOnError: (error) => /^READONLY/.test(error.message),
};

/** For commands. Reconnects by itself; while it is away every call fails at once. */
export function commandConnection(target: RedisTarget): Redis {
  return connection(target, { commandTimeout: commandTimeoutMs, connectionName: "isthmus-hub" });
}

/** For the one blocking XREAD of the change feed, which must not hold up commands. Its owner reconnects it. */
export function feedConnection(target: RedisTarget): Redis {
  return connection(target, {
    connectionName: "isthmus-hub-feed",
    // XREAD answers at least every feedBlockMs: more silence is a half-open connection
    socketTimeout: feedBlockMs + feedGraceMs,
    retryStrategy: () => null,
  });
}

function connection(target: RedisTarget, more: Options): Redis {
  const redis = new Redis({ ...common, ...more, ...endpoint(target) });
  // ioredis prints "Unhandled error event" without a listener; every failure also reaches the command that met it
  redis.on("error", ignoreEvent);
  return redis;
}

function ignoreEvent(): void {
  return;
}

function endpoint(target: RedisTarget): Options {
  if (target.kind === "socket") return { path: target.path };
  const { url, caFile } = target;
  const db = url.pathname.length > 1 ? Number(url.pathname.slice(1)) : 0;
  const tls = caFile === undefined ? {} : { ca: readFileSync(caFile) };
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? 6379 : Number(url.port),
    db,
    ...(url.username === "" ? {} : { username: decodeURIComponent(url.username) }),
    ...(url.password === "" ? {} : { password: decodeURIComponent(url.password) }),
    ...(url.protocol === "rediss:" ? { tls: { ...tls, servername: url.hostname } } : {}),
  };
}

/** Refuses what would send the fleet's state over a readable wire. `insecure` is the flag --insecure-dev. */
export function parseRedisUrl(text: string, insecure: boolean, caFile: string | undefined): RedisTarget {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["redis:", "rediss:"].includes(url.protocol) || url.hostname === "") {
    throw new UserError("ISTHMUS_REDIS_URL", "the address of Redis is not a rediss:// URL", {
      hint: "give rediss://[user:password@]host[:port][/db]",
    });
  }
  if (url.protocol === "redis:" && !insecure) {
    throw new UserError("ISTHMUS_REDIS_PLAINTEXT", "redis:// sends the fleet's state and the password unencrypted", {
      hint: "use a rediss:// URL, or --insecure-dev for a test on one machine",
    });
  }
  return { kind: "url", url, caFile };
}

/** First connection of a hub: what fails here is a mistake in the set-up, said with its probable cause. */
export async function connectOrExplain(redis: Redis, target: RedisTarget): Promise<void> {
  try {
    let refusal: Error | undefined;
    const note = (error: Error) => (refusal = error);
    redis.on("error", note);
    await redis.connect().catch((error: unknown) => {
      throw refusal ?? error;
    });
    redis.off("error", note);
  } catch (cause) {
    redis.disconnect();
    throw new UserError("ISTHMUS_REDIS_UNREACHABLE", `cannot connect to Redis at ${describeTarget(target)}`, {
      cause,
      hint: probableCause(cause),
    });
  }
}

/** Without user and password. */
export function describeTarget(target: RedisTarget): string {
  return target.kind === "socket" ? target.path : target.url.host;
}

const causes: readonly (readonly [pattern: RegExp, hint: string])[] = [
  [/ECONNREFUSED/, "nothing listens there: start Redis or correct the port"],
  [/ENOTFOUND|EAI_AGAIN/, "the host name does not resolve: correct it or the resolver"],
  [
    /ETIMEDOUT|EHOSTUNREACH|ENETUNREACH/,
    "no answer: a firewall, a wrong address, or with rediss:// a port that speaks no TLS",
  ],
  [/ENOENT/, "the socket does not exist: is the embedded Redis running?"],
  [/WRONGPASS|NOAUTH/, "user or password is wrong or missing in the URL"],
  [/NOPERM/, "the Redis user lacks a permission: see docs/errors.md"],
  [/certificate|self.signed|CERT_/i, "its certificate is not trusted: give its CA with --redis-ca FILE"],
  [
    /wrong version number|packet length|SSL|EPROTO|ECONNRESET|Connection is closed/i,
    "it may speak no TLS: use its TLS port, or redis:// with --insecure-dev",
  ],
];

function probableCause(error: unknown): string {
  const text = error instanceof Error ? `${(error as NodeJS.ErrnoException).code ?? ""} ${error.message}` : "";
  return causes.find(([pattern]) => pattern.test(text))?.[1] ?? "check the address and that Redis runs";
}

/** True for what Redis, or the way to it, did: the caller may try again. Anything else is a mistake of ours. */
export function isRedisFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (["ReplyError", "MaxRetriesPerRequestError", "AbortError"].includes(error.name)) return true;
  return /^(Connection is closed|Command timed out|Stream isn't writeable)|ECONN|EPIPE|ENOENT/.test(error.message);
}
