// Instant queries to a Prometheus over its HTTP API. Every failure is a PrometheusError whose message says what to look at.
// https://prometheus.io/docs/prometheus/2.42/querying/api/#instant-queries
import { fieldOf, stringOf } from "../kube/json.ts";
import type { Sample, Samples } from "./items.ts";
import { metricNames, type MetricName } from "./queries.ts";

export class PrometheusError extends Error {
  constructor(message: string, more: { cause?: unknown } = {}) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = "PrometheusError";
  }
}

export interface Prometheus {
  /** All of them at one instant. */
  query(queries: Readonly<Record<MetricName, string>>, signal: AbortSignal): Promise<Samples>;
}

/** A large fleet's answer: 10,000 series of 300 bytes. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

export function connectPrometheus(url: string): Prometheus {
  const one = async (query: string, time: string, signal: AbortSignal): Promise<readonly Sample[]> => {
    const body = new URLSearchParams({ query, time });
    const at = new URL("api/v1/query", url.endsWith("/") ? url : `${url}/`);
    const answer = await fetch(at, { method: "POST", body, signal }).catch((cause: unknown) => {
      throw new PrometheusError(`${url} does not answer: ${reasonOf(cause)}`, { cause });
    });
    const text = await answer.text();
    if (text.length > MAX_ANSWER_BYTES)
      throw new PrometheusError(`${url} answered more than ${MAX_ANSWER_BYTES} bytes`);
    return readVector(url, answer.status, text);
  };
  return {
    query: async (queries, signal) => {
      const time = (Date.now() / 1000).toFixed(3);
      const answers = await Promise.all(
        metricNames.map(async (name) => [name, await one(queries[name], time, signal)] as const),
      );
      return Object.fromEntries(answers) as unknown as Samples;
    },
  };
}

/** fetch hides the reason ("fetch failed") in its cause. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  return cause.message === "" && "code" in cause ? String(cause.code) : cause.message;
}

function readVector(url: string, status: number, text: string): readonly Sample[] {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (cause) {
    throw new PrometheusError(`${url} answered ${status} and no JSON: is it a Prometheus?`, { cause });
  }
  if (fieldOf(body, "status") !== "success")
    throw new PrometheusError(`${url} refused a query: ${stringOf(fieldOf(body, "error")) || `status ${status}`}`);
  const result = fieldOf(body, "data", "result");
  if (!Array.isArray(result)) throw new PrometheusError(`${url} answered no vector`);
  return (result as readonly unknown[]).map((element) => {
    const value = fieldOf(element, "value");
    const number = Array.isArray(value) ? Number(value[1]) : Number.NaN;
    return { labels: (fieldOf(element, "metric") ?? {}) as Sample["labels"], value: number };
  });
}
