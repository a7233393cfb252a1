// A workload that makes requests for a test: a small program runs where its application runs (in its pod, or beside its
// sidecar), and every request is a line to it, so a request costs what it costs an application and not a process start.
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";

export interface RequestOptions {
  readonly url: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** "new" (default) or the name of a kept-alive connection. */
  readonly connection?: string;
  readonly timeoutMs?: number;
}

export interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: string;
  /** Socket error code; a response and an error exclude each other. */
  readonly error?: string;
  readonly ms: number;
}

export interface LoadOptions {
  readonly url: string;
  readonly rps: number;
  readonly seconds: number;
  readonly method?: string;
  readonly timeoutMs?: number;
  readonly connections?: number;
}

export interface LoadResult {
  readonly requests: number;
  readonly failed: number;
  readonly slowestMs: number;
  readonly medianMs: number;
  readonly statuses: Readonly<Record<string, number>>;
  /** Answers per cluster, from the x-shop-cluster header of the demo application. */
  readonly clusters: Readonly<Record<string, number>>;
  readonly failures: readonly {
    readonly sentAtMs: number;
    readonly ms: number;
    readonly key: string;
    readonly body?: string;
  }[];
}

export interface TcpOptions {
  readonly host: string;
  readonly port: number;
  readonly text?: string;
  readonly bytes?: number;
  readonly timeoutMs?: number;
}

export interface TcpAnswer {
  readonly received: string;
  readonly end: string;
  readonly ms: number;
}

export type HeldKind = "http" | "grpc" | "websocket" | "tcp";

export interface HoldOptions {
  /** Of the connection, for `held` and `letGo`. */
  readonly name: string;
  readonly kind: HeldKind;
  readonly host: string;
  readonly port: number;
  /** What HTTP calls the server; `host:port` when not given. */
  readonly authority?: string;
}

/** A connection on which something is sent and comes back every tenth of a second. */
export interface HeldState {
  readonly kind: HeldKind;
  /** ms since 1970; 0: never. */
  readonly lastHeardAtMs: number;
  /** How it ended and when (ms since 1970); absent while it lives. */
  readonly end?: string;
  readonly endedAtMs?: number;
}

export interface RpcOptions {
  readonly host: string;
  readonly port: number;
  /** `/package.Service/Method` */
  readonly path: string;
  /** What the call names as its server; `host:port` when not given. */
  readonly authority?: string;
  /** "new" (default), the name of a kept connection, or that of a gRPC stream that is held: its connection. */
  readonly connection?: string;
  /** TLS of the caller's own: whom it trusts (PEM), and for which server. */
  readonly tls?: { readonly ca: string; readonly servername: string };
}

export interface RpcAnswer {
  /** h2; h2c without TLS of its own. */
  readonly alpn?: string;
  readonly status?: number;
  readonly grpcStatus?: number;
  /** Who answered, as the demo application says. */
  readonly service?: string;
  /** Socket error code; it may come beside a status. */
  readonly error?: string;
}

export interface Caller {
  rpc(options: RpcOptions): Promise<RpcAnswer>;
  request(options: RequestOptions): Promise<Answer>;
  load(options: LoadOptions): Promise<LoadResult>;
  /** Once the running load has had that many answers more, so that what was just changed was also used under load. */
  moreAnswers(count: number): Promise<void>;
  tcp(options: TcpOptions): Promise<TcpAnswer>;
  /** Opens a connection and keeps it; answers when something came back on it, or it has ended. */
  hold(options: HoldOptions): Promise<HeldState>;
  held(name: string): Promise<HeldState>;
  letGo(name: string): Promise<void>;
  /** Ends a running load early; its promise resolves with what was counted. */
  stop(): Promise<void>;
  close(): void;
}

/** How the program is started at the workload's place. */
export interface CallerPlace {
  readonly command: string;
  /** Before what Node is given. */
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** For messages: `east/shop/storefront`. */
  readonly name: string;
}

const program = readFileSync(new URL("./caller-program.mjs", import.meta.url), "utf8");

export function openCaller(place: CallerPlace): Caller {
  const args = [...place.args, "--input-type=module", "-e", program];
  const child = spawn(place.command, args, { stdio: ["pipe", "pipe", "pipe"], env: place.env ?? process.env });
  const waiting = new Map<number, { resolve: (answer: unknown) => void; reject: (error: Error) => void }>();
  let nextId = 0;
  const stderrText = watchEnd(child, (error) => {
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    const { id, answer } = JSON.parse(line) as { id: number; answer: unknown };
    waiting.get(id)?.resolve(answer);
    waiting.delete(id);
  });
  const send = <T>(op: string, parameters: object): Promise<T> =>
    new Promise((resolve, reject) => {
      if (child.exitCode !== null) {
        reject(new Error(`caller in ${place.name} has ended: ${stderrText()}`));
        return;
      }
      const id = (nextId += 1);
      waiting.set(id, { resolve: resolve as (answer: unknown) => void, reject });
      child.stdin.write(`${JSON.stringify({ id, op, ...parameters })}\n`);
    });
  return {
    request: (options) => send("request", options),
    load: (options) => send("load", options),
    moreAnswers: async (count) => {
      await send("moreAnswers", { count });
    },
    tcp: (options) => send("tcp", options),
    rpc: (options) => send("rpc", { authority: `${options.host}:${options.port}`, ...options }),
    hold: (options) => send("hold", { authority: `${options.host}:${options.port}`, ...options }),
    held: (name) => send("held", { name }),
    letGo: async (name) => {
      await send("letGo", { name });
    },
    stop: async () => {
      await send("stop", {});
    },
    close: () => {
      child.stdin.end();
      child.kill("SIGTERM");
    },
  };
}

/** Calls `ended` with the reason once the program is gone; returns a reader of what it wrote to standard error. */
function watchEnd(child: ChildProcessWithoutNullStreams, ended: (error: Error) => void): () => string {
  let text = "";
  child.stderr.on("data", (chunk: Buffer) => {
    text = (text + chunk.toString("utf8")).slice(-2000);
  });
  child.on("error", (error) => ended(new Error("cannot start a caller", { cause: error })));
  child.on("close", (code) => ended(new Error(`caller ended with status ${String(code)}: ${text.trim()}`)));
  child.stdin.on("error", () => undefined); // EPIPE after the end: `close` reports the reason
  return () => text.trim();
}
