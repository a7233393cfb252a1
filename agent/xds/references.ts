// Which other resources a resource refers to, read from its JSON. Called by snapshot when a resource is encoded.
// Only references over ADS count: a secret from a file or a route table given inline is nobody else's resource.
import type { EncodedResource, JsonMessage, JsonValue, ResourceType } from "./resource.ts";

type Reference = EncodedResource["needs"][number];

export function referencesOf(type: ResourceType, name: string, value: JsonMessage): readonly Reference[] {
  const found = new Map<string, Reference>();
  const add = (target: ResourceType, to: unknown) => {
    if (typeof to === "string" && to !== "") found.set(`${target} ${to}`, { type: target, name: to });
  };
  if (type === "cds") {
    if (isEdsOverAds(value)) add("eds", object(value["eds_cluster_config"])?.["service_name"] ?? name);
    walk(value, (message) => secretReference(message, add));
  } else if (type === "lds") {
    walk(value, (message) => {
      secretReference(message, add);
      routeTable(message, add);
      discoveredFilter(message, add);
      if (message["@type"] === tcpProxy) destinations(message, add);
      if (message["virtual_hosts"] !== undefined) routeDestinations(message, add);
    });
  } else if (type === "rds") {
    routeDestinations(value, add);
  } else if (type === "ecds") {
    const filter = object(value["typed_config"]);
    if (filter !== undefined) routeTable(filter, add);
    destinations(filter, add);
  }
  return [...found.values()];
}

type Add = (target: ResourceType, name: unknown) => void;

const tcpProxy = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

function isEdsOverAds(cluster: JsonMessage): boolean {
  const config = object(object(cluster["eds_cluster_config"])?.["eds_config"]);
  return cluster["type"] === "EDS" && config?.["ads"] !== undefined;
}

function secretReference(message: JsonMessage, add: Add): void {
  if (object(message["sds_config"])?.["ads"] !== undefined) add("sds", message["name"]);
}

function routeTable(message: JsonMessage, add: Add): void {
  const rds = object(message["rds"]);
  if (object(rds?.["config_source"])?.["ads"] !== undefined) add("rds", rds?.["route_config_name"]);
}

/** A filter that comes by ECDS under its own name. */
function discoveredFilter(message: JsonMessage, add: Add): void {
  const source = object(object(message["config_discovery"])?.["config_source"]);
  if (source?.["ads"] !== undefined) add("ecds", message["name"]);
}

function routeDestinations(table: JsonMessage, add: Add): void {
  for (const host of list(table["virtual_hosts"])) {
    for (const route of list(host["routes"])) destinations(object(route["route"]), add);
  }
}

function destinations(action: JsonMessage | undefined, add: Add): void {
  add("cds", action?.["cluster"]);
  for (const target of list(object(action?.["weighted_clusters"])?.["clusters"])) add("cds", target["name"]);
  for (const mirror of list(action?.["request_mirror_policies"])) add("cds", mirror["cluster"]);
}

/** Visits every object inside `value`, free-form metadata excepted: there a field's name means nothing. */
function walk(value: JsonValue, visit: (message: JsonMessage) => void): void {
  if (typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) {
    for (const item of value as readonly JsonValue[]) walk(item, visit);
    return;
  }
  const message = value as JsonMessage;
  visit(message);
  for (const [key, item] of Object.entries(message)) {
    if (key !== "metadata" && key !== "filter_metadata") walk(item, visit);
  }
}

function object(value: JsonValue | undefined): JsonMessage | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonMessage) : undefined;
}

function list(value: JsonValue | undefined): readonly JsonMessage[] {
  const items = Array.isArray(value) ? (value as readonly JsonValue[]) : [];
  return items.map(object).filter((item) => item !== undefined);
}
