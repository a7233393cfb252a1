// What a ServiceImport and its derived Service say, as functions of the import that should exist. Written by
// service-imports.ts; the field order and the omissions match what the API server stores, so that comparing is exact.
import type { ExportedPort } from "../../shared/registry.ts";
import type { ServiceImportIr } from "../ir/types.ts";
import { fieldOf, stringOf, type JsonObject } from "./json.ts";
import { conditionOf } from "./condition.ts";
import { labelName } from "./parse/metadata.ts";
import { managedByUs } from "./parse/service-import.ts";
import { apiVersionOf, services, type ResourceType } from "./resources.ts";

/** CoreDNS rewrites `<name>.<namespace>.svc.clusterset.local` to this Service; the CoreDNS rule in docs/operations.md has the same prefix. */
const derivedPrefix = "isthmus-";
const MAX_SERVICE_NAME = 63;

export function derivedServiceName(importName: string): string | undefined {
  const name = `${derivedPrefix}${importName}`;
  return name.length > MAX_SERVICE_NAME ? undefined : name;
}

/** A Service with several ports must name each; the names that are there stay. */
export function servicePorts(item: ServiceImportIr): readonly ExportedPort[] {
  if (item.ports.length < 2) return item.ports;
  return item.ports.map((port) =>
    port.name === "" ? { ...port, name: `p${port.port}-${port.protocol.toLowerCase()}` } : port,
  );
}

function portBody(port: ExportedPort): JsonObject {
  const { name, protocol, appProtocol } = port;
  return { ...(name !== "" && { name }), protocol, ...(appProtocol !== "" && { appProtocol }), port: port.port };
}

export function importSpec(item: ServiceImportIr, ips: readonly string[]): JsonObject {
  // v1beta1 allows two addresses: one per family
  return { ports: item.ports.map(portBody), ...(ips.length > 0 && { ips: ips.slice(0, 2) }), type: item.type };
}

export function importBody(resource: ResourceType, item: ServiceImportIr, ips: readonly string[]): JsonObject {
  const { namespace, name } = item;
  return {
    apiVersion: apiVersionOf(resource),
    kind: resource.kind,
    metadata: { namespace, name, labels: { [labelName.managedBy]: managedByUs } },
    spec: importSpec(item, ips),
  };
}

/** No selector: nothing but the sidecars (and the gateway, for unmeshed callers) answers at its address. */
export function derivedServiceBody(item: ServiceImportIr, owner: { resource: ResourceType; uid: string }): JsonObject {
  const labels = {
    [labelName.managedBy]: managedByUs,
    [labelName.importNamespace]: item.namespace,
    [labelName.importService]: item.name,
  };
  const { resource, uid } = owner;
  const ownerReferences = [{ apiVersion: apiVersionOf(resource), kind: resource.kind, name: item.name, uid }];
  return {
    apiVersion: apiVersionOf(services),
    kind: services.kind,
    metadata: { namespace: item.namespace, name: derivedServiceName(item.name), labels, ownerReferences },
    spec: {
      type: "ClusterIP",
      ports: servicePorts(item).map((port) => ({ ...portBody(port), targetPort: port.port })),
    },
  };
}

/** `lastTransitionTime` moves only when the status of the condition does. */
export function importStatus(
  item: ServiceImportIr,
  hubConnected: boolean,
  present: unknown,
  nowText: string,
): JsonObject {
  const before = conditionOf(fieldOf(present, "conditions"), "Ready");
  const message = hubConnected
    ? `exported by ${item.clusters.length} ${item.clusters.length === 1 ? "member" : "members"}`
    : "the hub is not reachable: the last known exporters stand";
  const since = stringOf(fieldOf(before, "lastTransitionTime"));
  const lastTransitionTime = fieldOf(before, "status") === "True" && since !== "" ? since : nowText;
  return {
    clusters: item.clusters.map((cluster) => ({ cluster })),
    conditions: [{ type: "Ready", status: "True", reason: "Ready", message, lastTransitionTime }],
  };
}
