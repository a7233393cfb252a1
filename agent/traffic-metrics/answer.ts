// One request to metrics.smi-spec.io from path to answer. What waits (objects, Prometheus) comes as parameters.
import type { TrafficSplitInput } from "../ir/inputs.ts";
import { discovery } from "./discovery.ts";
import {
  bareName,
  edgeMetrics,
  isPodOf,
  metricsList,
  objectMetrics,
  splitMetrics,
  type Answered,
  type Measured,
  type MeasuredPod,
} from "./items.ts";
import { trafficSplitKind, type MeasuredKind } from "./kinds.ts";
import { parsePath, type MetricsQuery } from "./path.ts";
import { PrometheusError, type Prometheus } from "./prometheus.ts";
import { promQueries, type End, type Question } from "./queries.ts";

export interface Selected {
  /** Empty: every namespace. */
  readonly namespace: string;
  /** Empty: all. */
  readonly name: string;
  readonly labelSelector: string;
  readonly fieldSelector: string;
}

export interface AnswerDeps {
  readonly prometheus: Prometheus;
  readonly cluster: string;
  /** Objects as the API server has them; an unreadable selector is an ObjectsRefused. */
  readonly objects: (of: MeasuredKind, selected: Selected, signal: AbortSignal) => Promise<readonly Measured[]>;
  /** Pods of a namespace, or of all; of one node where the selection says so. */
  readonly pods: (selected: Selected, signal: AbortSignal) => Promise<readonly MeasuredPod[]>;
  /** Whether requests are counted by pod here. */
  readonly podLabel: boolean;
  readonly splits: (selected: Selected, signal: AbortSignal) => Promise<readonly TrafficSplitInput[]>;
  readonly now: () => Date;
}

/** The API server would not list: its own status and words. */
export class ObjectsRefused extends Error {
  readonly status: number;

  constructor(status: number, message: string, cause: unknown) {
    super(message, { cause });
    this.name = "ObjectsRefused";
    this.status = status;
  }
}

export interface Reply {
  readonly status: number;
  readonly body: object;
}

const reasons: Readonly<Record<number, string>> = {
  400: "BadRequest",
  403: "Forbidden",
  404: "NotFound",
  405: "MethodNotAllowed",
  503: "ServiceUnavailable",
};

/** A Kubernetes Status. `code` is ours, for docs/errors.md. */
export function failure(status: number, message: string, code?: string): Reply {
  const details =
    code === undefined ? {} : { details: { group: "metrics.smi-spec.io", causes: [{ reason: code, message }] } };
  const reason = reasons[status] ?? "InternalError";
  const kind = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure" };
  return { status, body: { ...kind, message, reason, ...details, code: status } };
}

export async function answer(url: URL, deps: AnswerDeps, signal: AbortSignal): Promise<Reply> {
  let path: string;
  try {
    path = decodeURIComponent(url.pathname);
  } catch {
    return failure(400, "the path is not UTF-8");
  }
  const asked = parsePath(path);
  if (asked.what === "nothing") return failure(404, asked.reason);
  if (asked.what !== "metrics") return { status: 200, body: discovery[asked.what] };
  const selected = {
    namespace: asked.query.namespace,
    name: asked.query.name,
    labelSelector: url.searchParams.get("labelSelector") ?? "",
    fieldSelector: url.searchParams.get("fieldSelector") ?? "",
  };
  try {
    return await measured(asked.query, selected, deps, signal);
  } catch (error) {
    if (error instanceof ObjectsRefused) return failure(error.status, error.message);
    if (!(error instanceof PrometheusError)) throw error;
    const next = "metrics.prometheusUrl of the agent's chart says where it is, docs/metrics.md what it must scrape";
    return failure(503, `ISTHMUS_PROMETHEUS: ${error.message}; ${next}`, "ISTHMUS_PROMETHEUS");
  }
}

function measured(query: MetricsQuery, selected: Selected, deps: AnswerDeps, signal: AbortSignal): Promise<Reply> {
  const { of } = query;
  if (of === trafficSplitKind) return ofSplits(query, selected, deps, signal);
  if (!deps.podLabel && (of.nameLabel === "pod" || of.podsBy !== undefined))
    return Promise.resolve(failure(404, `requests are not counted by pod here (metrics.podLabel): no ${of.plural}`));
  if (of.podsBy !== undefined) return byPods(query, selected, deps, signal);
  return query.edges ? ofEdges(query, selected, deps, signal) : ofObjects(query, selected, deps, signal);
}

async function asks(question: Question, { prometheus, now }: AnswerDeps, signal: AbortSignal): Promise<Answered> {
  return { samples: await prometheus.query(promQueries(question), signal), timestamp: now().toISOString() };
}

function notFound({ of, namespace, name }: MetricsQuery): Reply {
  return failure(404, `${of.plural} "${namespace === "" ? "" : `${namespace}/`}${name}" not found`);
}

async function ofObjects(
  query: MetricsQuery,
  selected: Selected,
  deps: AnswerDeps,
  signal: AbortSignal,
): Promise<Reply> {
  const { of, name } = query;
  const objects = await deps.objects(of, selected, signal);
  if (name !== "" && objects.length === 0) return notFound(query);
  const { cluster } = deps;
  const answered = await asks({ end: "destination", query, cluster }, deps, signal);
  const items = objects.map((object) => objectMetrics(of, object, answered));
  const [only] = items;
  return { status: 200, body: name !== "" && only !== undefined ? only : metricsList(query, items) };
}

/** More are a question for Prometheus: each object has queries of its own. */
const MAX_BY_PODS = 100;
const nothing: Answered["samples"] = {
  p99_response_latency: [],
  p90_response_latency: [],
  p50_response_latency: [],
  success_count: [],
  failure_count: [],
};

/** Objects that no label names: what their pods are asked for, object by object. */
async function byPods(query: MetricsQuery, selected: Selected, deps: AnswerDeps, signal: AbortSignal): Promise<Reply> {
  const { of, name, edges } = query;
  const { cluster, now } = deps;
  const objects = await deps.objects(of, selected, signal);
  if (name !== "" && objects.length === 0) return notFound(query);
  const fieldSelector = of.podsBy === "node" && name !== "" ? `spec.nodeName=${name}` : "";
  const pods = await deps.pods({ ...selected, name: "", labelSelector: "", fieldSelector }, signal);
  const filled = objects.map((object) => ({ object, pods: pods.filter((pod) => isPodOf(of, object, pod)) }));
  if (filled.filter((each) => each.pods.length > 0).length > MAX_BY_PODS)
    return failure(400, `more than ${MAX_BY_PODS} ${of.plural}: ask for a namespace, a label or one of them`);
  const ask = async (end: End, own: readonly MeasuredPod[]): Promise<Answered> =>
    own.length === 0
      ? { samples: nothing, timestamp: now().toISOString() }
      : asks({ end, query, cluster, pods: own }, deps, signal);
  const ends: readonly End[] = edges ? ["source", "destination"] : ["destination"];
  const items = await Promise.all(
    filled.flatMap(({ object, pods: own }) =>
      ends.map(async (end) => {
        const answered = await ask(end, own);
        return edges
          ? edgeMetrics(of, object, { ...answered, end, here: cluster })
          : [objectMetrics(of, object, answered)];
      }),
    ),
  );
  const all = items.flat();
  const [only] = all;
  return { status: 200, body: name !== "" && !edges && only !== undefined ? only : metricsList(query, all) };
}

/** A Service calls nobody: it has neighbours at one end only. */
async function ofEdges(query: MetricsQuery, selected: Selected, deps: AnswerDeps, signal: AbortSignal): Promise<Reply> {
  const { of } = query;
  const { cluster } = deps;
  const [object] = await deps.objects(of, selected, signal);
  if (object === undefined) return notFound(query);
  const ends: readonly End[] = of.nameLabel === "service" ? ["destination"] : ["source", "destination"];
  const items = await Promise.all(
    ends.map(async (end) => {
      const answered = await asks({ end, query, cluster }, deps, signal);
      return edgeMetrics(of, object, { ...answered, end, here: cluster });
    }),
  );
  return { status: 200, body: metricsList(query, items.flat()) };
}

async function ofSplits(
  query: MetricsQuery,
  selected: Selected,
  deps: AnswerDeps,
  signal: AbortSignal,
): Promise<Reply> {
  const { name, edges } = query;
  const { cluster } = deps;
  if (edges) return failure(404, "a TrafficSplit calls nobody; ask for the edges of its Services");
  const splits = await deps.splits(selected, signal);
  if (name !== "" && splits.length === 0) return notFound(query);
  const services = [...new Set(splits.flatMap(({ backends }) => backends.map(({ service }) => bareName(service))))];
  if (services.length === 0) return { status: 200, body: metricsList(query, []) };
  const answered = await asks({ end: "destination", query, cluster, services: services.sort() }, deps, signal);
  return {
    status: 200,
    body: metricsList(
      query,
      splits.flatMap((split) => splitMetrics(query.of, split, answered)),
    ),
  };
}
