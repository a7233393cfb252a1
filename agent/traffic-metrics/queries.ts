// A question about traffic as PromQL over `osm_request_total` and `osm_request_duration_ms`, plain names as the shipped scrape rules give.
// Pure. Values that go in are Kubernetes names (path.ts) and are quoted all the same.
import type { LabelPart, MeasuredKind } from "./kinds.ts";
import type { Measured } from "./items.ts";
import type { MetricsQuery } from "./path.ts";

/** SMI's window. Prometheus needs two samples in it: scrape every 15 s at least. */
export const WINDOW_S = 30;

/** Which end of a request is the resource. */
export type End = "destination" | "source";

/** Units and names as SMI's SDK has them. */
export const quantiles = { p99_response_latency: 0.99, p90_response_latency: 0.9, p50_response_latency: 0.5 } as const;
export type LatencyName = keyof typeof quantiles;
export type CountName = "success_count" | "failure_count";
export type MetricName = LatencyName | CountName;
export const metricNames: readonly MetricName[] = [
  ...(Object.keys(quantiles) as LatencyName[]),
  "success_count",
  "failure_count",
];

/** 5xx, and 0: a request that ended without any answer. A refusal (403) is an answer. */
const FAILED = "5..|0";
/** UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS: a gRPC call that failed has the HTTP status 200. A refusal is 7. */
const FAILED_RPC = "2|4|13|14|15";

export interface Question {
  readonly end: End;
  readonly query: MetricsQuery;
  /** The member whose API server was asked: objects are its own. */
  readonly cluster: string;
  /** Of a split: the Services that are asked about. */
  readonly services?: readonly string[];
  /** Of a kind that is measured by its pods: those of one object; at least one. */
  readonly pods?: readonly Measured[];
}

function quoted(value: string): string {
  return JSON.stringify(value);
}

function anyOf(values: readonly string[]): string {
  return quoted(values.map((value) => value.replaceAll(/[.\\+*?()[\]{}|^$]/g, "\\$&")).join("|"));
}

/** Labels of the resource's own end that tell one object from another. */
export function ownLabels(of: MeasuredKind): readonly LabelPart[] {
  if (of.podsBy !== undefined) return [];
  return of.nameLabel === undefined ? ["namespace"] : ["namespace", of.nameLabel];
}

/**
 * A Service and a split's backend may be answered by any member; whatever else is measured is an object of one. A caller has no
 * Service: of a source there is no such label.
 */
function labelSelector({ end, query, cluster, services }: Question): string {
  const { of, namespace, name } = query;
  const label = (part: string) => `${end}_${part}`;
  const namespaceIs = of.nameLabel === undefined ? name : namespace;
  return [
    ...(of.nameLabel === "service" ? [] : [`${label("cluster")}=${quoted(cluster)}`]),
    ...(of.workloadKind === undefined ? [] : [`${label("kind")}=${quoted(of.workloadKind)}`]),
    ...(namespaceIs === "" ? [] : [`${label("namespace")}=${quoted(namespaceIs)}`]),
    ...(services === undefined ? [] : [`${label("service")}=~${anyOf(services)}`]),
    ...(services === undefined && of.nameLabel !== undefined && name !== ""
      ? [`${label(of.nameLabel)}=${quoted(name)}`]
      : []),
  ].join(",");
}

/** Two namespaces may have pods of one name: one selector for each namespace. */
function podSelectors({ end, cluster, pods = [] }: Question): readonly string[] {
  const byNamespace = Map.groupBy(pods, ({ namespace }) => namespace);
  return [...byNamespace].map(([namespace, members]) =>
    [
      `${end}_cluster=${quoted(cluster)}`,
      `${end}_namespace=${quoted(namespace)}`,
      `${end}_pod=~${anyOf(members.map(({ name }) => name))}`,
    ].join(","),
  );
}

/** Of series that have nothing in common: what is asked of one is asked of each. */
function selectors(question: Question): readonly string[] {
  return question.pods === undefined ? [labelSelector(question)] : podSelectors(question);
}

export const otherEnd: Readonly<Record<End, End>> = { destination: "source", source: "destination" };
export const edgeLabels = ["cluster", "namespace", "kind", "name"] as const;

/** What every answer is grouped by. */
export function grouping({ end, query }: Question): readonly string[] {
  const own = ownLabels(query.of).map((part) => `${end}_${part}`);
  return query.edges ? [...own, ...edgeLabels.map((part) => `${otherEnd[end]}_${part}`)] : own;
}

/** One query for each metric. */
export function promQueries(question: Question): Readonly<Record<MetricName, string>> {
  const each = selectors(question);
  const labels = grouping(question);
  const by = labels.join(", ");
  const window = `[${WINDOW_S}s]`;
  const requests = (rest: string) =>
    each.map((one) => `increase(osm_request_total{${one === "" ? "" : `${one},`}${rest}}${window})`).join(" or ");
  const answered = `response_code!~"${FAILED}"`;
  const failed = [requests(`response_code=~"${FAILED}"`), requests(`${answered},grpc_status=~"${FAILED_RPC}"`)];
  const durations = each.map((one) => `rate(osm_request_duration_ms_bucket{${one}}${window})`).join(" or ");
  const quantile = (name: LatencyName) =>
    `histogram_quantile(${quantiles[name]}, sum by (${[...labels, "le"].join(", ")}) (${durations}))`;
  return {
    p99_response_latency: quantile("p99_response_latency"),
    p90_response_latency: quantile("p90_response_latency"),
    p50_response_latency: quantile("p50_response_latency"),
    success_count: `sum by (${by}) (${requests(`${answered},grpc_status!~"${FAILED_RPC}"`)})`,
    failure_count: `sum by (${by}) (${failed.join(" or ")})`,
  };
}
