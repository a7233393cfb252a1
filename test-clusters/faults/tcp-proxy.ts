// A TCP proxy that delivers every byte late: the latency of a wide-area link, which this kernel cannot make (no netem).
// Used as a library by benches and tests, or as a program in a network namespace of a run (`--listen --to --delay-ms`).
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import process from "node:process";
import { Transform } from "node:stream";
import { parseArgs } from "node:util";

export interface ProxyOptions {
  readonly listen: { readonly host: string; readonly port: number };
  readonly to: { readonly host: string; readonly port: number };
  /** One way; a request and its answer take twice this. */
  readonly delayMs: number;
  /** Up to this much more, per chunk; order is kept. */
  readonly jitterMs?: number;
  readonly random?: () => number;
}

export interface TcpProxy {
  readonly port: number;
  /** For connections open and new; takes effect with the next chunk. */
  setDelayMs(delayMs: number): void;
  /** Resets every open connection, as a middlebox does that lost its state. */
  reset(): void;
  close(): Promise<void>;
}

/**
 * Late by the delay, never reordered: one queue and one timer, for timers count whole milliseconds and two of them would overtake each
 * other. A timer may fire early, by what the event loop was late when it was set: what is not due yet is waited for again.
 */
function late(delayMs: () => number): Transform {
  const queue: { readonly chunk: Buffer; readonly dueMs: number }[] = [];
  let lastDueMs = 0;
  let flushed: (() => void) | undefined;
  return new Transform({
    highWaterMark: 1 << 20,
    transform(chunk: Buffer, _encoding, done) {
      const deliver = () => {
        for (const now = performance.now(); (queue[0]?.dueMs ?? Infinity) <= now;) this.push(queue.shift()?.chunk);
        const [next] = queue;
        if (next === undefined) flushed?.();
        else setTimeout(deliver, Math.ceil(next.dueMs - performance.now()));
      };
      lastDueMs = Math.max(performance.now() + delayMs(), lastDueMs);
      queue.push({ chunk, dueMs: lastDueMs });
      if (queue.length === 1) setTimeout(deliver, Math.ceil(lastDueMs - performance.now()));
      done();
    },
    flush(done) {
      // the end travels as late as the bytes do
      flushed = () => setTimeout(done, Math.max(0, lastDueMs - performance.now()));
      if (queue.length === 0) flushed();
    },
  });
}

function join(client: Socket, options: ProxyOptions, delay: () => number): Socket {
  const upstream = connect({ ...options.to, allowHalfOpen: true });
  for (const [from, to] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    from.setNoDelay(true);
    from.pipe(late(delay)).pipe(to);
    // one side's failure is the other side's reset: what a client sees when the real peer dies
    from.on("error", () => to.resetAndDestroy());
    from.on("close", (hadError) => (hadError ? to.resetAndDestroy() : undefined));
  }
  return upstream;
}

export async function startTcpProxy(options: ProxyOptions): Promise<TcpProxy> {
  let delayMs = options.delayMs;
  const random = options.random ?? Math.random;
  const delay = () => delayMs + (options.jitterMs ?? 0) * random();
  const open = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (client) => {
    for (const socket of [client, join(client, options, delay)]) {
      open.add(socket);
      socket.once("close", () => open.delete(socket));
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.listen, resolve);
  });
  const reset = () => {
    for (const socket of open) socket.resetAndDestroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    setDelayMs: (value) => (delayMs = value),
    reset,
    close: () =>
      new Promise((resolve) => {
        reset();
        server.close(() => resolve());
      }),
  };
}

function place(text: string | undefined): { readonly host: string; readonly port: number } {
  const at = text?.lastIndexOf(":") ?? -1;
  const port = Number(text?.slice(at + 1));
  if (text === undefined || at < 1 || !Number.isInteger(port)) throw new Error(`"${text ?? ""}" is not HOST:PORT`);
  return { host: text.slice(0, at), port };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      listen: { type: "string" },
      to: { type: "string" },
      "delay-ms": { type: "string", default: "0" },
      "jitter-ms": { type: "string", default: "0" },
    },
  });
  await startTcpProxy({
    listen: place(values.listen),
    to: place(values.to),
    delayMs: Number(values["delay-ms"]),
    jitterMs: Number(values["jitter-ms"]),
  });
  process.stdout.write("listening\n");
}
