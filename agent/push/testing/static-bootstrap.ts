// What one proxy is told, as a bootstrap that holds all of it: Envoy's `--mode validate` looks at nothing that a stream or a
// file would bring later. Every "ask ADS" becomes the resource itself, under the same name.
import type { JsonMessage, JsonValue, ResourceSet } from "../../xds/resource.ts";

function isMessage(value: JsonValue | undefined): value is JsonMessage {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function named(resources: ReadonlyMap<string, JsonMessage>, name: JsonValue | undefined): JsonMessage {
  const found = typeof name === "string" ? resources.get(name) : undefined;
  if (found === undefined) throw new Error(`nothing is called ${JSON.stringify(name)}`);
  return found;
}

/** Routes and filters go inline; a secret without a source is the static one of its name. */
function inlined(value: JsonValue, set: ResourceSet): JsonValue {
  if (Array.isArray(value)) return value.map((item: JsonValue) => inlined(item, set));
  if (!isMessage(value)) return value;
  const result: Record<string, JsonValue> = {};
  for (const [field, inner] of Object.entries(value)) {
    if (field === "sds_config") continue;
    if (field === "rds" && isMessage(inner)) result["route_config"] = named(set.rds, inner["route_config_name"]);
    else if (field === "config_discovery")
      result["typed_config"] = named(set.ecds, value["name"])["typed_config"] ?? {};
    else result[field] = inlined(inner, set);
  }
  return result;
}

function staticCluster(cluster: JsonMessage, set: ResourceSet): JsonValue {
  if (cluster["type"] !== "EDS") return inlined(cluster, set);
  const kept = Object.entries(cluster).filter(([field]) => field !== "eds_cluster_config");
  const own = { type: "STATIC", load_assignment: named(set.eds, cluster["name"]) };
  return inlined({ ...Object.fromEntries<JsonValue>(kept), ...own }, set);
}

export function staticBootstrap(set: ResourceSet): JsonValue {
  return {
    node: { id: "golden", cluster: "golden" },
    static_resources: {
      listeners: [...set.lds.values()].map((listener) => inlined(listener, set)),
      clusters: [...set.cds.values()].map((cluster) => staticCluster(cluster, set)),
      secrets: [...set.sds.values()],
    },
  };
}
