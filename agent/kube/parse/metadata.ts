// What every Kubernetes object has: names, labels, annotations, times. Used by the parsers of this folder.
import type { FieldReader } from "./field-reader.ts";

export const labelName = {
  injected: "isthmus.dev/injected",
  inject: "isthmus.dev/inject",
  osmMonitored: "openservicemesh.io/monitored-by",
  importNamespace: "isthmus.dev/import-namespace",
  importService: "isthmus.dev/import-service",
  managedBy: "app.kubernetes.io/managed-by",
  replicatedFrom: "isthmus.dev/replicated-from",
} as const;

/** RFC 1123 subdomain: what Kubernetes takes as an object's name. */
const objectName = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const dnsLabel = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

export function readName(field: FieldReader): string {
  return field.text({ maxLength: 253, pattern: objectName, wanted: "an object name (a-z, 0-9, - and .)" });
}

export function readNamespaceName(field: FieldReader, otherwise?: string): string {
  const rule = { maxLength: 63, pattern: dnsLabel, wanted: "a namespace name (a-z, 0-9 and -)" };
  return field.text(otherwise === undefined ? rule : { ...rule, otherwise });
}

export interface Names {
  readonly namespace: string;
  readonly name: string;
}

export function readNames(root: FieldReader): Names {
  const metadata = root.at("metadata");
  return { namespace: readNamespaceName(metadata.at("namespace")), name: readName(metadata.at("name")) };
}

/** The API server bounds labels only by the object's size. */
const MAX_LABELS = 4096;

export function readLabels(root: FieldReader): Readonly<Record<string, string>> {
  return Object.fromEntries(root.at("metadata").at("labels").texts({ max: MAX_LABELS }));
}

export function readAnnotations(root: FieldReader): Readonly<Record<string, string>> {
  return Object.fromEntries(root.at("metadata").at("annotations").texts({ max: MAX_LABELS }));
}

/** One label or annotation; empty when absent. */
export function entryOf(map: Readonly<Record<string, string>>, key: string): string {
  return Object.hasOwn(map, key) ? (map[key] ?? "") : "";
}

export function isBeingDeleted(root: FieldReader): boolean {
  return typeof root.at("metadata").at("deletionTimestamp").raw === "string";
}

export function readCreatedAtMs(root: FieldReader): number {
  const field = root.at("metadata").at("creationTimestamp");
  const ms = Date.parse(field.text({ maxLength: 64 }));
  if (Number.isNaN(ms)) field.report("must be a time");
  return Number.isNaN(ms) ? 0 : ms;
}
