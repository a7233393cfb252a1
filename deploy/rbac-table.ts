// Every permission that the charts give, with the code that uses it and why. A test compares it with the rendered
// charts; the end-to-end suite compares it with the API server's audit log, so a verb that nothing uses is found.

export type Verb = "get" | "list" | "watch" | "create" | "update" | "patch" | "delete";

export interface Grant {
  readonly account: "isthmus-agent";
  /** "cluster": in every namespace; "system": in isthmus-system only. */
  readonly scope: "cluster" | "system";
  /** Empty: the core group. */
  readonly group: string;
  /** With its subresource: `serviceexports/status`. */
  readonly resource: string;
  /** Absent: any name. */
  readonly names?: readonly string[];
  readonly verbs: readonly Verb[];
  /** File that makes the requests. */
  readonly usedBy: string;
  readonly why: string;
  /** Verbs that no request of the end-to-end suite need use, because they belong to a state that it does not reach. */
  readonly rare?: {
    readonly verbs: readonly Verb[];
    readonly why: string;
    /** The test that uses them: `file#words of it`. */
    readonly coveredBy: string;
  };
}

const account = "isthmus-agent";
const smi = { access: "access.smi-spec.io", specs: "specs.smi-spec.io", split: "split.smi-spec.io" } as const;
const mcs = "multicluster.x-k8s.io";

type Row = Omit<Grant, "account" | "scope">;

const watched: readonly Omit<Row, "verbs" | "usedBy">[] = [
  { group: "", resource: "namespaces", why: "which namespaces are in the mesh" },
  { group: "", resource: "pods", why: "the identity behind an address" },
  { group: "", resource: "services", why: "what can be called, and the gateway's own address" },
  { group: "discovery.k8s.io", resource: "endpointslices", why: "where a service answers" },
  { group: mcs, resource: "serviceexports", why: "what other members may see" },
  { group: mcs, resource: "serviceimports", why: "what is imported already" },
  { group: smi.access, resource: "traffictargets", why: "who may call whom" },
  { group: smi.specs, resource: "httproutegroups", why: "with which requests" },
  { group: smi.specs, resource: "tcproutes", why: "on which ports" },
  { group: smi.specs, resource: "udproutes", why: "rules that name none" },
  { group: smi.split, resource: "trafficsplits", why: "which backends stand for a service" },
  { group: "config.openservicemesh.io", resource: "meshconfigs", why: "OSM's switches and exclusions" },
  { group: "", resource: "serviceaccounts", why: "policy that names an account which does not exist" },
  { group: "", resource: "configmaps", names: ["isthmus-trust"], why: "where the fleet's roots are already" },
  {
    group: "admissionregistration.k8s.io",
    resource: "mutatingwebhookconfigurations",
    names: ["isthmus-agent"],
    why: "whether caBundle is as it should be",
  },
];

/** Given where the chart names a Prometheus. */
const measured: readonly Row[] = [
  ...["nodes", "replicationcontrollers"].map((resource) => measuredRow("", resource)),
  ...["daemonsets", "deployments", "replicasets", "statefulsets"].map((resource) => measuredRow("apps", resource)),
  measuredRow("batch", "jobs"),
  {
    group: "apiregistration.k8s.io",
    resource: "apiservices",
    names: ["v1alpha1.metrics.smi-spec.io"],
    verbs: ["get", "patch"],
    usedBy: "agent/kube/api-service.ts",
    why: "caBundle: the API server trusts the agent's certificate",
    rare: {
      verbs: ["get", "patch"],
      why: "a Prometheus is named",
      coveredBy: "agent/traffic-metrics-api.feature.test.ts#are asked of the agent as soon as it runs",
    },
  },
];

function measuredRow(group: string, resource: string): Row {
  return {
    ...{ group, resource, verbs: ["list"], usedBy: "agent/kube/measured-objects.ts" },
    why: "which objects TrafficMetrics are asked of",
    rare: {
      verbs: ["list"],
      why: "a Prometheus is named, and somebody asks",
      coveredBy: "agent/traffic-metrics-api.feature.test.ts#choose among objects by the API server's own selectors",
    },
  };
}

const written: readonly Row[] = [
  {
    group: "",
    resource: "namespaces",
    verbs: ["get"],
    usedBy: "agent/injector.ts",
    why: "the label of a namespace that the watch has not shown yet",
    rare: {
      verbs: ["get"],
      why: "a pod that is faster than the watch",
      coveredBy: "agent/injector.test.ts#asks the API server for a namespace that the watch has not shown",
    },
  },
  {
    group: mcs,
    resource: "serviceexports/status",
    verbs: ["patch"],
    usedBy: "agent/kube/export-conditions.ts",
    why: "conditions: exported, refused, in conflict",
  },
  {
    group: mcs,
    resource: "serviceimports",
    verbs: ["create", "patch", "delete"],
    usedBy: "agent/kube/service-imports.ts",
    why: "a service of another member appears and goes",
  },
  {
    group: mcs,
    resource: "serviceimports/status",
    verbs: ["patch"],
    usedBy: "agent/kube/service-imports.ts",
    why: "which members stand behind it",
  },
  {
    group: "",
    resource: "services",
    verbs: ["create", "patch", "delete"],
    usedBy: "agent/kube/service-imports.ts",
    why: "the derived Service that gives an import its name and address",
  },
  {
    group: "",
    resource: "events",
    verbs: ["create", "patch"],
    usedBy: "agent/kube/object-events.ts",
    why: "what is wrong with an object, where its author looks",
    rare: {
      verbs: ["patch"],
      why: "a mistake that stands for half an hour, or longer than its leader",
      coveredBy: "agent/kube/writers.feature.test.ts#a new leader with the same wish refreshes the Events",
    },
  },
  {
    group: "",
    resource: "configmaps",
    names: ["isthmus-trust"],
    verbs: ["create", "patch"],
    usedBy: "agent/kube/trust-config-maps.ts",
    why: "the fleet's roots in every mesh namespace",
  },
  {
    group: "authentication.k8s.io",
    resource: "tokenreviews",
    verbs: ["create"],
    usedBy: "agent/kube/token-review.ts",
    why: "who opens an ADS stream",
  },
  {
    group: "admissionregistration.k8s.io",
    resource: "mutatingwebhookconfigurations",
    names: ["isthmus-agent"],
    verbs: ["patch"],
    usedBy: "agent/kube/webhook-bundle.ts",
    why: "caBundle",
  },
];

const conversions: Row = {
  group: "apiextensions.k8s.io",
  resource: "customresourcedefinitions",
  names: [
    "traffictargets.access.smi-spec.io",
    "httproutegroups.specs.smi-spec.io",
    "tcproutes.specs.smi-spec.io",
    "trafficsplits.split.smi-spec.io",
  ],
  verbs: ["get", "patch"],
  usedBy: "agent/kube/conversion-bundle.ts",
  why: "where objects of older versions are converted, and whom to trust there",
};

const seldomUsed = {
  verbs: ["patch"],
  why: "a cluster that has an object of this kind",
  coveredBy: "agent/kube/policy-conditions.feature.test.ts#says on every kind of SMI object what became of it",
} as const;

const policyStatus: readonly Row[] = [
  { group: smi.access, resource: "traffictargets/status" },
  { group: smi.specs, resource: "httproutegroups/status" },
  { group: smi.specs, resource: "tcproutes/status", rare: seldomUsed },
  { group: smi.specs, resource: "udproutes/status", rare: seldomUsed },
  { group: smi.split, resource: "trafficsplits/status", rare: seldomUsed },
].map((each): Row => ({
  ...each,
  verbs: ["patch"],
  usedBy: "agent/kube/policy-conditions.ts",
  why: "conditions: accepted, in conflict, what it names and is not there",
}));

const copied = {
  verbs: ["create", "update", "delete"],
  why: "a fleet in which an object of this kind is replicated",
  coveredBy: "agent/kube/policy-copies.feature.test.ts#puts a copy of every kind here, keeps it and takes it away",
} as const;

const policyCopies: readonly Row[] = [
  { group: smi.access, resource: "traffictargets" },
  { group: smi.specs, resource: "httproutegroups" },
  { group: smi.specs, resource: "tcproutes" },
  { group: smi.specs, resource: "udproutes" },
  { group: smi.split, resource: "trafficsplits" },
].map((each): Row => ({
  ...each,
  verbs: ["create", "update", "delete"],
  usedBy: "agent/kube/policy-copies.ts",
  why: "objects that other members replicate here (isthmus.dev/replicate)",
  rare: copied,
}));

const inSystemNamespace: readonly Row[] = [
  {
    group: "",
    resource: "secrets",
    names: ["isthmus-cluster-ca", "isthmus-webhook-ca"],
    verbs: ["get", "update"],
    usedBy: "agent/kube/secret-store.ts",
    why: "the cluster's CA, and the webhook's",
    rare: {
      verbs: ["update"],
      why: "a renewal, at half of a certificate's life",
      coveredBy: "agent/kube/writers.feature.test.ts#keeps the identity in a Secret that two replicas share",
    },
  },
  {
    group: "",
    resource: "secrets",
    verbs: ["create"],
    usedBy: "agent/kube/secret-store.ts",
    why: "the same two, the first time: a create cannot be limited to a name",
  },
  {
    group: "",
    resource: "pods",
    verbs: ["patch"],
    usedBy: "agent/kube/membership-config-map.ts",
    why: "a gateway that waits learns that it can start",
  },
  {
    group: "",
    resource: "configmaps",
    verbs: ["get", "create", "patch", "delete"],
    usedBy: "agent/kube/registry-copy.ts",
    why: "the last good registry in pieces; which member this is (membership-config-map.ts)",
    rare: {
      verbs: ["delete"],
      why: "a registry that needs fewer pieces than before: a thousand services less",
      coveredBy: "agent/kube/writers.feature.test.ts#keeps the last good registry in pieces",
    },
  },
  {
    group: "coordination.k8s.io",
    resource: "leases",
    names: ["isthmus-agent"],
    verbs: ["get", "update"],
    usedBy: "agent/kube/lease-election.ts",
    why: "which replica writes",
  },
  {
    group: "coordination.k8s.io",
    resource: "leases",
    verbs: ["create"],
    usedBy: "agent/kube/lease-election.ts",
    why: "the first election",
  },
];

export const grants: readonly Grant[] = [
  ...watched.map((row): Grant => ({
    ...row,
    ...{ account, scope: "cluster", verbs: ["list", "watch"], usedBy: "agent/kube/feeds.ts" },
  })),
  ...[...written, ...policyStatus, ...policyCopies, conversions, ...measured].map((row): Grant => ({
    ...row,
    account,
    scope: "cluster",
  })),
  ...inSystemNamespace.map((row): Grant => ({ ...row, account, scope: "system" })),
];
