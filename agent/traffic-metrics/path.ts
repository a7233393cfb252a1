// What a request path of metrics.smi-spec.io asks for. Pure. Names go into queries, so nothing that is no Kubernetes name gets through.
// https://github.com/servicemeshinterface/smi-spec/blob/v0.6.0/apis/traffic-metrics/v1alpha1/traffic-metrics.md#rest-interface
import { kindOf, namespaceKind, type MeasuredKind } from "./kinds.ts";

export const metricsGroup = "metrics.smi-spec.io";
export const metricsVersion = "v1alpha1";

export interface MetricsQuery {
  readonly of: MeasuredKind;
  /** Empty: every namespace, or a kind without. */
  readonly namespace: string;
  /** Empty: all of them. */
  readonly name: string;
  readonly edges: boolean;
}

export type Asked =
  | { readonly what: "groups" | "group" | "resources" }
  | { readonly what: "metrics"; readonly query: MetricsQuery }
  | { readonly what: "nothing"; readonly reason: string };

const objectName = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

function nothing(reason: string): Asked {
  return { what: "nothing", reason };
}

function metrics(plural: string, namespace: string, rest: readonly string[]): Asked {
  const of = kindOf(plural);
  if (of === undefined) return nothing(`no request is labelled with a ${plural}: see the resources of this group`);
  const [name = "", edges, ...more] = rest;
  if (more.length > 0 || (edges !== undefined && edges !== "edges")) return nothing("a resource has edges, no more");
  if (name !== "" && !objectName.test(name)) return nothing("that is no name of an object");
  if (name === "" && edges !== undefined) return nothing("a list has no edges");
  return { what: "metrics", query: { of, namespace, name, edges: edges !== undefined } };
}

/** `/namespaces/shop` is the namespace itself, `/namespaces/shop/pods` what is in it. */
function inNamespace(namespace: string, [first, ...rest]: readonly string[]): Asked {
  if (!objectName.test(namespace)) return nothing("that is no name of a namespace");
  if (first === undefined || first === "edges")
    return metrics(namespaceKind.plural, "", [namespace, ...(first === undefined ? [] : [first])]);
  if (kindOf(first)?.namespaced === false) return nothing(`${first} are in no namespace`);
  return metrics(first, namespace, rest);
}

/** `path` is decoded and without its query. */
export function parsePath(path: string): Asked {
  const [apis, group, version, ...rest] = path.split("/").filter((part) => part !== "");
  if (apis !== "apis") return nothing("this server has the API group metrics.smi-spec.io alone");
  if (group === undefined) return { what: "groups" };
  if (group !== metricsGroup) return nothing(`this server has the API group ${metricsGroup} alone`);
  if (version === undefined) return { what: "group" };
  if (version !== metricsVersion) return nothing(`served is ${metricsVersion}`);
  return ofVersion(rest);
}

function ofVersion([first, second, ...rest]: readonly string[]): Asked {
  if (first === undefined) return { what: "resources" };
  if (first === "namespaces" && second !== undefined) return inNamespace(second, rest);
  const of = kindOf(first);
  if (of !== undefined && of.namespaced && second !== undefined) return nothing(`${first} are in a namespace`);
  return metrics(first, "", second === undefined ? [] : [second, ...rest]);
}
