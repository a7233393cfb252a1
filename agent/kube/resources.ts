// The Kubernetes resources that the agent reads and writes, and their paths. The chart's RBAC rules name the same ones.

export interface ResourceType {
  /** Empty: the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
}

function core(plural: string, kind: string): ResourceType {
  return { group: "", version: "v1", plural, kind };
}

function grouped(apiVersion: string, plural: string, kind: string): ResourceType {
  const [group = "", version = ""] = apiVersion.split("/");
  return { group, version, plural, kind };
}

export const namespaces = core("namespaces", "Namespace");
export const services = core("services", "Service");
export const pods = core("pods", "Pod");
export const configMaps = core("configmaps", "ConfigMap");
export const serviceAccounts = core("serviceaccounts", "ServiceAccount");
export const secrets = core("secrets", "Secret");
export const events = core("events", "Event");
export const endpointSlices = grouped("discovery.k8s.io/v1", "endpointslices", "EndpointSlice");
export const leases = grouped("coordination.k8s.io/v1", "leases", "Lease");
export const tokenReviews = grouped("authentication.k8s.io/v1", "tokenreviews", "TokenReview");
export const mutatingWebhooks = grouped(
  "admissionregistration.k8s.io/v1",
  "mutatingwebhookconfigurations",
  "MutatingWebhookConfiguration",
);
export const serviceExports = grouped("multicluster.x-k8s.io/v1beta1", "serviceexports", "ServiceExport");
export const serviceExportsAlpha = grouped("multicluster.x-k8s.io/v1alpha1", "serviceexports", "ServiceExport");
export const serviceImports = grouped("multicluster.x-k8s.io/v1beta1", "serviceimports", "ServiceImport");
export const serviceImportsAlpha = grouped("multicluster.x-k8s.io/v1alpha1", "serviceimports", "ServiceImport");
export const trafficTargets = grouped("access.smi-spec.io/v1alpha3", "traffictargets", "TrafficTarget");
export const httpRouteGroups = grouped("specs.smi-spec.io/v1alpha4", "httproutegroups", "HTTPRouteGroup");
export const tcpRoutes = grouped("specs.smi-spec.io/v1alpha4", "tcproutes", "TCPRoute");
export const trafficSplits = grouped("split.smi-spec.io/v1alpha4", "trafficsplits", "TrafficSplit");

export function apiVersionOf(resource: ResourceType): string {
  return resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
}

/** One object, or a collection when `name` is absent; every namespace (or a cluster-wide resource) when `namespace` is. */
export interface ObjectPath {
  readonly resource: ResourceType;
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: "status" | "token";
}

export function pathOf(at: ObjectPath): string {
  const { group, version, plural } = at.resource;
  const parts = group === "" ? ["api", version] : ["apis", group, version];
  if (at.namespace !== undefined && at.namespace !== "") parts.push("namespaces", at.namespace);
  parts.push(plural);
  if (at.name !== undefined) parts.push(at.name);
  if (at.subresource !== undefined) parts.push(at.subresource);
  return `/${parts.map(encodeURIComponent).join("/")}`;
}

/** How a person names it in a message: `ServiceExport shop/cart`. */
export function titleOf(at: ObjectPath): string {
  const name = [at.namespace, at.name].filter((part) => part !== undefined && part !== "").join("/");
  return name === "" ? at.resource.kind : `${at.resource.kind} ${name}`;
}
