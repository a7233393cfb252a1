// From what Prometheus answered to the objects of metrics.smi-spec.io. Pure.
// https://github.com/servicemeshinterface/smi-spec/blob/v0.6.0/apis/traffic-metrics/v1alpha1/traffic-metrics.md
import type { TrafficSplitInput } from "../ir/inputs.ts";
import type { MeasuredKind } from "./kinds.ts";
import { metricsGroup, metricsVersion, type MetricsQuery } from "./path.ts";
import { metricNames, otherEnd, ownLabels, WINDOW_S, type End, type MetricName } from "./queries.ts";

const apiVersion = `${metricsGroup}/${metricsVersion}`;

/** One element of an instant vector. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export type Samples = Readonly<Record<MetricName, readonly Sample[]>>;

/** An object that metrics are of. */
export interface Measured {
  readonly namespace: string;
  readonly name: string;
}

interface ObjectReference extends Partial<Measured> {
  readonly kind: string;
  /** Ours: SMI knows one cluster. Left out where it is the one that was asked. */
  readonly cluster?: string;
}

export interface MeasuredPod extends Measured {
  /** Empty while it is not scheduled. */
  readonly node: string;
  /** Of what owns it in its namespace: `ReplicaSet cart-5d9c7b`. */
  readonly owners: readonly string[];
}

export function isPodOf({ kind, podsBy }: MeasuredKind, { namespace, name }: Measured, pod: MeasuredPod): boolean {
  if (podsBy === "node") return pod.node === name;
  return pod.namespace === namespace && pod.owners.includes(`${kind} ${name}`);
}

export interface TrafficMetrics {
  readonly kind: "TrafficMetrics";
  readonly apiVersion: string;
  readonly metadata: Partial<Measured> & { readonly creationTimestamp: string };
  readonly resource: ObjectReference;
  readonly edge: {
    /** Seen from the resource: `from` those that call it, `to` those that it calls. */
    readonly direction: "from" | "to";
    /** Always measured by the caller's sidecar. */
    readonly side: "client";
    readonly resource: ObjectReference | null;
  };
  readonly backend?: { readonly apex: string; readonly name: string; readonly weight: number };
  readonly timestamp: string;
  readonly window: string;
  readonly metrics: readonly { readonly name: MetricName; readonly unit?: "ms"; readonly value: string }[];
}

export interface TrafficMetricsList {
  readonly kind: "TrafficMetricsList";
  readonly apiVersion: string;
  readonly metadata: Record<string, never>;
  readonly resource: ObjectReference;
  readonly items: readonly TrafficMetrics[];
}

/** A Kubernetes Quantity in thousandths, `12500m`, or whole; no requests, no latency: 0. */
export function quantity(value: number): string {
  const milli = Number.isFinite(value) ? Math.round(value * 1000) : 0;
  return milli % 1000 === 0 ? String(milli / 1000) : `${milli}m`;
}

function metricsOf(samples: Samples, isOf: (sample: Sample) => boolean): TrafficMetrics["metrics"] {
  return metricNames.map((name) => {
    const value = samples[name].find(isOf)?.value ?? 0;
    // an increase is extrapolated to the window: of whole requests only the nearest number makes sense
    if (name === "success_count" || name === "failure_count") return { name, value: quantity(Math.round(value)) };
    return { name, unit: "ms", value: quantity(value) };
  });
}

function referenceTo(of: MeasuredKind, { namespace, name }: Measured): ObjectReference {
  return of.namespaced ? { kind: of.kind, namespace, name } : { kind: of.kind, name };
}

export interface Answered {
  readonly samples: Samples;
  readonly timestamp: string;
}

interface ItemInput extends Answered {
  readonly of: MeasuredKind;
  readonly object: Measured;
  readonly isOf: (sample: Sample) => boolean;
}

function item({ of, object, samples, timestamp, isOf }: ItemInput): TrafficMetrics {
  const { namespace, name } = object;
  return {
    kind: "TrafficMetrics",
    apiVersion,
    metadata: { ...(of.namespaced ? { namespace } : {}), name, creationTimestamp: timestamp },
    resource: referenceTo(of, object),
    edge: { direction: "from", side: "client", resource: null },
    timestamp,
    window: `${WINDOW_S}s`,
    metrics: metricsOf(samples, isOf),
  };
}

function ownValues(of: MeasuredKind, { namespace, name }: Measured): readonly string[] {
  return of.nameLabel === undefined ? [name] : [namespace, name];
}

function isAbout(of: MeasuredKind, end: End, object: Measured): (sample: Sample) => boolean {
  // the question was about this object's pods alone
  if (of.podsBy !== undefined) return () => true;
  const wanted = ownValues(of, object);
  const labels = ownLabels(of).map((part) => `${end}_${part}`);
  return ({ labels: has }) => labels.every((label, index) => has[label] === wanted[index]);
}

/** What reaches an object: one item, also when nothing does. */
export function objectMetrics(of: MeasuredKind, object: Measured, answered: Answered): TrafficMetrics {
  return item({ of, object, ...answered, isOf: isAbout(of, "destination", object) });
}

/**
 * One item for each name among a split's backends: what reached Services of that name, through the split or not, whichever member answered.
 * The label is the bare name, so a Service and the import of its name are one item with the sum of their weights.
 */
export function splitMetrics(
  of: MeasuredKind,
  split: TrafficSplitInput,
  answered: Answered,
): readonly TrafficMetrics[] {
  const weights = new Map<string, number>();
  for (const { service, weight } of split.backends) {
    const name = bareName(service);
    weights.set(name, (weights.get(name) ?? 0) + weight);
  }
  const apex = bareName(split.service);
  return [...weights].map(([name, weight]) => {
    const isOf = ({ labels }: Sample) =>
      labels["destination_namespace"] === split.namespace && labels["destination_service"] === name;
    return { ...item({ of, object: split, ...answered, isOf }), backend: { apex, name, weight } };
  });
}

/** A split's names may carry their namespace and capitals; backends are of its own. */
export function bareName(service: string): string {
  return (service.split(".", 1)[0] ?? service).toLowerCase();
}

/** The other end as its own cluster would name it. */
function neighbour(sample: Sample, end: End, here: string): ObjectReference {
  const other = otherEnd[end];
  const part = (name: string) => sample.labels[`${other}_${name}`] ?? "";
  const [cluster, namespace, kind, name] = [part("cluster"), part("namespace"), part("kind"), part("name")];
  return { kind, namespace, name, ...(cluster === here ? {} : { cluster }) };
}

function edgeKey(sample: Sample): string {
  return JSON.stringify(Object.entries(sample.labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** One item for each neighbour of an object at the other end. */
export function edgeMetrics(
  of: MeasuredKind,
  object: Measured,
  { end, here, ...answered }: Answered & { readonly end: End; readonly here: string },
): readonly TrafficMetrics[] {
  const about = isAbout(of, end, object);
  const edges = new Map(
    Object.values(answered.samples)
      .flat()
      .filter(about)
      .map((sample) => [edgeKey(sample), sample]),
  );
  return [...edges]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, sample]) => ({
      ...item({ of, object, ...answered, isOf: (other) => edgeKey(other) === key }),
      edge: { direction: end === "source" ? "to" : "from", side: "client", resource: neighbour(sample, end, here) },
    }));
}

export function metricsList(
  { of, namespace, name }: MetricsQuery,
  items: readonly TrafficMetrics[],
): TrafficMetricsList {
  const resource = { kind: of.kind, ...(namespace === "" ? {} : { namespace }), ...(name === "" ? {} : { name }) };
  return { kind: "TrafficMetricsList", apiVersion, metadata: {}, resource, items };
}
