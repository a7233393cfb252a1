// Which Kubernetes kinds TrafficMetrics speak of, and by which labels of `osm_request_*` each is found. Pure data.
// A kind that no label names (a node, a ReplicaSet of a Deployment) is measured by the pods that it contains.

/** The last word of a label, after `destination_` or `source_`. */
export type LabelPart = "namespace" | "kind" | "name" | "pod" | "service";

export interface MeasuredKind {
  readonly plural: string;
  readonly kind: string;
  /** Empty: the core group. */
  readonly group: string;
  readonly version: string;
  readonly namespaced: boolean;
  /** Which label holds the object's name; undefined: the namespace is all that there is to say. */
  readonly nameLabel: Exclude<LabelPart, "namespace" | "kind"> | undefined;
  /** Value of the label `…_kind`. */
  readonly workloadKind: string | undefined;
  /** By which fact of a pod it is one of such an object's. Absent: labels say it. */
  readonly podsBy?: "node" | "owner";
}

function core(plural: string, kind: string, nameLabel: MeasuredKind["nameLabel"], namespaced = true): MeasuredKind {
  return { plural, kind, group: "", version: "v1", namespaced, nameLabel, workloadKind: undefined };
}

function workload(apiVersion: string, plural: string, kind: string): MeasuredKind {
  const [group = "", version = ""] = apiVersion.split("/");
  return { plural, kind, group, version, namespaced: true, nameLabel: "name", workloadKind: kind };
}

export const trafficSplitKind: MeasuredKind = {
  ...{ plural: "trafficsplits", kind: "TrafficSplit", group: "split.smi-spec.io", version: "v1alpha4" },
  ...{ namespaced: true, nameLabel: "service", workloadKind: undefined },
};

export const namespaceKind: MeasuredKind = core("namespaces", "Namespace", undefined, false);

export const measuredKinds: readonly MeasuredKind[] = [
  namespaceKind,
  { ...core("nodes", "Node", undefined, false), podsBy: "node" },
  core("pods", "Pod", "pod"),
  core("services", "Service", "service"),
  workload("apps/v1", "deployments", "Deployment"),
  workload("apps/v1", "daemonsets", "DaemonSet"),
  workload("apps/v1", "statefulsets", "StatefulSet"),
  // requests are labelled with the Deployment that owns it
  { ...workload("apps/v1", "replicasets", "ReplicaSet"), podsBy: "owner" },
  { ...core("replicationcontrollers", "ReplicationController", "name"), workloadKind: "ReplicationController" },
  workload("batch/v1", "jobs", "Job"),
  trafficSplitKind,
];

export function kindOf(plural: string): MeasuredKind | undefined {
  return measuredKinds.find((one) => one.plural === plural);
}
