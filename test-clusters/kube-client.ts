// A Kubernetes client of a hundred lines for bringing clusters up and for the load balancer controller: JSON over HTTPS
// with a client certificate. The product's own client is in agent/kube; this one must not grow into a second.
import { Agent, request as httpsRequest } from "node:https";
import type { IncomingMessage } from "node:http";
import { createInterface } from "node:readline";
import type { KeyPair } from "./node/pki.ts";

export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly resourceVersion?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
}

export interface KubeList<T> {
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly T[];
}

export interface WatchEvent<T> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: T;
}

/** An answer of the API server with a status of 300 or more. */
export class KubeStatusError extends Error {
  readonly status: number;

  constructor(method: string, path: string, status: number, body: string) {
    let message = body.slice(0, 300);
    try {
      message = (JSON.parse(body) as { message?: string }).message ?? message;
    } catch {
      // not JSON: the start of the text says enough
    }
    super(`${method} ${path}: ${status} ${message}`);
    this.name = "KubeStatusError";
    this.status = status;
  }
}

export type KubeMethod = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

export interface KubeClient {
  get<T>(path: string): Promise<T>;
  send<T>(method: KubeMethod, path: string, body: unknown, contentType?: string): Promise<T>;
  /** Server-side apply: creates or changes. */
  apply(path: string, object: unknown): Promise<void>;
  /** Calls `on` per event until the stream ends or the signal aborts. */
  watch<T>(path: string, on: (event: WatchEvent<T>) => void, signal: AbortSignal): Promise<void>;
  close(): void;
}

export interface KubeAccess {
  readonly server: string;
  readonly caPem: string;
  readonly user: KeyPair;
}

const REQUEST_MS = 15_000;
export const MERGE_PATCH = "application/merge-patch+json";
const APPLY_PATCH = "application/apply-patch+yaml"; // JSON is YAML

export function kubeClient(access: KubeAccess): KubeClient {
  const agent = new Agent({
    keepAlive: true,
    ca: access.caPem,
    cert: access.user.certPem,
    key: access.user.keyPem,
  });
  const open = (method: string, path: string, init: { body?: string; type?: string; signal?: AbortSignal } = {}) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const headers = {
        accept: "application/json",
        ...(init.body === undefined
          ? {}
          : { "content-type": init.type ?? "application/json", "content-length": Buffer.byteLength(init.body) }),
      };
      const options = { method, agent, headers, ...(init.signal ? { signal: init.signal } : {}) };
      const call = httpsRequest(new URL(path, access.server), options, resolve);
      call.on("error", (cause) => reject(new Error(`${method} ${path}: ${cause.message}`, { cause })));
      call.end(init.body);
    });
  const call = async <T>(method: KubeMethod, path: string, body?: unknown, type?: string): Promise<T> => {
    const init = body === undefined ? {} : { body: JSON.stringify(body), ...(type ? { type } : {}) };
    const response = await open(method, path, { ...init, signal: AbortSignal.timeout(REQUEST_MS) });
    const text = await textOf(response);
    const status = response.statusCode ?? 0;
    if (status >= 300) throw new KubeStatusError(method, path, status, text);
    return (text.startsWith("{") ? JSON.parse(text) : text) as T;
  };
  return {
    get: (path) => call("GET", path),
    send: (method, path, body, contentType) => call(method, path, body, contentType),
    apply: async (path, object) => {
      await call("PATCH", `${path}?fieldManager=test-clusters&force=true`, object, APPLY_PATCH);
    },
    watch: async (path, on, signal) => {
      const response = await open("GET", `${path}${path.includes("?") ? "&" : "?"}watch=1`, { signal });
      const status = response.statusCode ?? 0;
      if (status >= 300) throw new KubeStatusError("GET", path, status, await textOf(response));
      for await (const line of createInterface({ input: response })) on(JSON.parse(line) as WatchEvent<never>);
    },
    close: () => agent.destroy(),
  };
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
