// A set of resources as files that an Envoy can read in place of an ADS stream: tests what the resources mean, not how they travel.
// A file is replaced by a rename, which is what Envoy watches for, so a test can also change a running proxy.
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { typeUrls, type JsonMessage, type JsonValue, type ResourceSet, type ResourceType } from "../resource.ts";

function fileOf(dir: string, type: ResourceType, name: string): string {
  return join(dir, `${type}-${encodeURIComponent(name).replaceAll("%", "_")}.json`);
}

function fromFile(path: string): JsonMessage {
  return { path_config_source: { path }, resource_api_version: "V3" };
}

function isMessage(value: JsonValue): value is JsonMessage {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Every "ask ADS" becomes "read this file": which one, the neighbouring name says. */
export function withFiles(value: JsonValue, dir: string, cluster: string): JsonValue {
  if (Array.isArray(value)) return value.map((item: JsonValue) => withFiles(item, dir, cluster));
  if (!isMessage(value)) return value;
  const { name, route_config_name } = value;
  const result: Record<string, JsonValue> = {};
  for (const [field, inner] of Object.entries(value)) {
    if (field === "eds_config") result[field] = fromFile(fileOf(dir, "eds", cluster));
    else if (field === "sds_config" && typeof name === "string") result[field] = fromFile(fileOf(dir, "sds", name));
    else if (field === "config_source" && typeof route_config_name === "string")
      result[field] = fromFile(fileOf(dir, "rds", route_config_name));
    else if (field === "config_discovery" && isMessage(inner) && typeof name === "string")
      result[field] = { ...inner, config_source: fromFile(fileOf(dir, "ecds", name)) };
    else result[field] = withFiles(inner, dir, cluster);
  }
  return result;
}

function replaceFile(path: string, resources: readonly JsonValue[]): void {
  const temporary = `${path}.new`;
  writeFileSync(temporary, JSON.stringify({ resources }));
  renameSync(temporary, path);
}

function tagged(type: ResourceType, message: JsonMessage, dir: string): JsonValue {
  const name = typeof message["name"] === "string" ? message["name"] : "";
  return { "@type": typeUrls[type], ...(withFiles(message, dir, name) as JsonMessage) };
}

/** Named resources first, so that what refers to them finds them. `change` adapts a listener to the test (ports). */
export function writeResources(
  dir: string,
  set: ResourceSet,
  change: (listener: JsonMessage) => JsonMessage = (same) => same,
): void {
  for (const type of ["sds", "eds", "rds", "ecds"] as const) {
    for (const [name, message] of set[type]) replaceFile(fileOf(dir, type, name), [tagged(type, message, dir)]);
  }
  replaceFile(
    join(dir, "cds.json"),
    [...set.cds.values()].map((message) => tagged("cds", message, dir)),
  );
  replaceFile(
    join(dir, "lds.json"),
    [...set.lds.values()].map((message) => tagged("lds", change(message), dir)),
  );
}

/**
 * A bootstrap made by bootstrapConfig, fed from `dir` instead of an agent, without its fixed listeners, and with all stats. Without
 * `adminPort` the admin interface stays where it is.
 */
export function fedFromFiles(bootstrap: JsonMessage, dir: string, adminPort?: number): JsonMessage {
  // load reports go to the agent (`cluster_manager`), which is not there: an Envoy that cannot send them does not start
  const replaced = new Set(["dynamic_resources", "static_resources", "stats_config", "cluster_manager"]);
  return {
    ...Object.fromEntries(Object.entries(bootstrap).filter(([field]) => !replaced.has(field))),
    ...(adminPort === undefined
      ? {}
      : { admin: { address: { socket_address: { address: "127.0.0.1", port_value: adminPort } } } }),
    dynamic_resources: { lds_config: fromFile(join(dir, "lds.json")), cds_config: fromFile(join(dir, "cds.json")) },
  };
}
