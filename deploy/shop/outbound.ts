// Requests that a shop service makes: one, or a steady stream of them whose failures are counted. A request never
// throws: what went wrong is the answer.
import http from "node:http";

export interface Answer {
  /** Absent when there was no response. */
  readonly status?: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Socket error code; absent when there was a response. */
  readonly error?: string;
  readonly ms: number;
}

export interface RequestOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  readonly agent?: http.Agent;
}

const MAX_BODY_CHARACTERS = 100_000;
const singleUse = new http.Agent({ keepAlive: false });

export function request(url: string, options: RequestOptions = {}): Promise<Answer> {
  const { method = "GET", headers = {}, timeoutMs = 10_000, agent = singleUse } = options;
  const started = performance.now();
  const elapsed = () => Math.round((performance.now() - started) * 10) / 10;
  return new Promise((resolve) => {
    const fail = (error: Error) => {
      const code = (error as NodeJS.ErrnoException).code ?? error.message;
      resolve({ headers: {}, body: "", error: code, ms: elapsed() });
    };
    const sent = http.request(url, { method, headers: { ...headers }, agent, timeout: timeoutMs }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        if (body.length < MAX_BODY_CHARACTERS) body += chunk;
      });
      response.on("error", fail);
      response.on("end", () => {
        const kept = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
        const status = response.statusCode ?? 0;
        resolve({ status, headers: Object.fromEntries(kept) as Record<string, string>, body, ms: elapsed() });
      });
    });
    sent.on("timeout", () => sent.destroy(new Error("timeout")));
    sent.on("error", fail);
    sent.end();
  });
}

export interface LoadOptions {
  readonly url: string;
  readonly rps: number;
  readonly seconds: number;
  readonly method?: string;
  readonly timeoutMs?: number;
}

export interface LoadResult {
  readonly requests: number;
  readonly ok: number;
  readonly failed: number;
  readonly slowestMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Answers by status or socket error. */
  readonly answers: Readonly<Record<string, number>>;
  /** Good answers by the cluster that gave them. */
  readonly clusters: Readonly<Record<string, number>>;
  /** The first failures, with their time since the start. */
  readonly failures: readonly { readonly atMs: number; readonly answer: string; readonly ms: number }[];
}

const KEPT_FAILURES = 20;

/** Open loop: requests start on schedule whether or not earlier ones were answered, so that a stall is seen by all who would have met it. */
export async function runLoad(options: LoadOptions, signal: AbortSignal): Promise<LoadResult> {
  const { url, rps, seconds, method = "GET", timeoutMs = 10_000 } = options;
  const agent = new http.Agent({ keepAlive: true, maxSockets: 50 });
  const tally = newTally();
  const pending = new Set<Promise<void>>();
  const total = Math.round(rps * seconds);
  const started = performance.now();
  const one = async (atMs: number) => {
    tally.add(atMs, await request(url, { method, timeoutMs, agent }));
  };
  for (let index = 0; index < total && !signal.aborted; index += 1) {
    const dueMs = (index * 1000) / rps;
    await until(started + dueMs);
    const sent = one(dueMs).finally(() => pending.delete(sent));
    pending.add(sent);
  }
  await Promise.all(pending);
  agent.destroy();
  return tally.result();
}

function until(time: number): Promise<void> {
  const waitMs = time - performance.now();
  // a schedule that has fallen behind still lets answers in between two requests
  return new Promise((resolve) => (waitMs > 1 ? setTimeout(resolve, waitMs) : setImmediate(resolve)));
}

function newTally(): { add: (atMs: number, answer: Answer) => void; result: () => LoadResult } {
  const durationsMs: number[] = [];
  const answers: Record<string, number> = {};
  const clusters: Record<string, number> = {};
  const failures: { atMs: number; answer: string; ms: number }[] = [];
  let ok = 0;
  const count = (counts: Record<string, number>, key: string) => (counts[key] = (counts[key] ?? 0) + 1);
  return {
    add: (atMs, answer) => {
      const key = answer.error ?? String(answer.status);
      durationsMs.push(answer.ms);
      count(answers, key);
      if (answer.status === 200) {
        ok += 1;
        count(clusters, answer.headers["x-shop-cluster"] ?? "unknown");
      } else if (failures.length < KEPT_FAILURES) {
        failures.push({ atMs: Math.round(atMs), answer: key, ms: answer.ms });
      }
    },
    result: () => {
      const sorted = [...durationsMs].sort((a, b) => a - b);
      const quantile = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;
      const requests = durationsMs.length;
      const spread = { slowestMs: sorted.at(-1) ?? 0, p50Ms: quantile(0.5), p99Ms: quantile(0.99) };
      return { requests, ok, failed: requests - ok, ...spread, answers, clusters, failures };
    },
  };
}
