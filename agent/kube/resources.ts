// The Kubernetes resources that the agent reads and writes, and their paths. The chart's RBAC rules name the same ones.
import { apiVersionsOf, smiKinds, type SmiKindName } from "../smi/versions.ts";

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
export const customResourceDefinitions = grouped(
  "apiextensions.k8s.io/v1",
  "customresourcedefinitions",
  "CustomResourceDefinition",
);
export const apiServices = grouped("apiregistration.k8s.io/v1", "apiservices", "APIService");
export const meshConfigs = grouped("config.openservicemesh.io/v1alpha2", "meshconfigs", "MeshConfig");
export const meshConfigsAlpha1 = grouped("config.openservicemesh.io/v1alpha1", "meshconfigs", "MeshConfig");
export const serviceExports = grouped("multicluster.x-k8s.io/v1beta1", "serviceexports", "ServiceExport");
export const serviceExportsAlpha = grouped("multicluster.x-k8s.io/v1alpha1", "serviceexports", "ServiceExport");
export const serviceImports = grouped("multicluster.x-k8s.io/v1beta1", "serviceimports", "ServiceImport");
export const serviceImportsAlpha = grouped("multicluster.x-k8s.io/v1alpha1", "serviceimports", "ServiceImport");

/** Every version of a kind of SMI, the one that is stored first. Our CRDs have them all; somebody else's may have one. */
export const smi = {
  TrafficTarget: smiResources("TrafficTarget"),
  HTTPRouteGroup: smiResources("HTTPRouteGroup"),
  TCPRoute: smiResources("TCPRoute"),
  UDPRoute: smiResources("UDPRoute"),
  TrafficSplit: smiResources("TrafficSplit"),
} as const;

function smiResources(kind: SmiKindName): readonly [ResourceType, ...ResourceType[]] {
  const [stored, ...older] = apiVersionsOf(kind);
  const ofVersion = (apiVersion: string) => grouped(apiVersion, smiKinds[kind].plural, kind);
  return [ofVersion(stored), ...older.map(ofVersion)];
}

export const [trafficTargets] = smi.TrafficTarget;
export const [httpRouteGroups] = smi.HTTPRouteGroup;
export const [tcpRoutes] = smi.TCPRoute;
export const [trafficSplits] = smi.TrafficSplit;

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
