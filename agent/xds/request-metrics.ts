// `osm_request_total` and `osm_request_duration_ms` with the labels that OSM's dashboards and Flagger query, recorded once per request by
// the caller's sidecar. Who calls is in the sidecar's environment; who answered is said by the server's sidecar in `osm-stats-*` response
// headers, which the caller's takes off; where nobody answered, the chosen endpoint or the route says whom it was meant for.
// Called by listeners, http-proxy, inbound and endpoints. No chain's bytes may depend on a pod or a workload: only the environment does.
// https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/access_loggers/stats/v3/stats.proto
import type { LocalEndpoint, RemoteBackend, ServiceIr } from "../ir/types.ts";
import type { JsonMessage } from "./resource.ts";
import { extension, typed } from "./typed-config.ts";

/** Key of everything in metadata that is said of a request's destination. */
const destination = "isthmus.to";

/** What a destination's label says when nobody knows it, as OSM's. */
const unknown = "unknown";

/** A workload as metrics name it; `pod` is its own name for what is no pod. */
export interface LabelledWorkload {
  readonly cluster: string;
  readonly namespace: string;
  readonly kind: string;
  readonly name: string;
  readonly pod: string;
}

const variables = {
  namespace: "ISTHMUS_NAMESPACE",
  kind: "ISTHMUS_WORKLOAD_KIND",
  name: "ISTHMUS_WORKLOAD_NAME",
  pod: "ISTHMUS_POD",
  cluster: "ISTHMUS_CLUSTER",
} as const satisfies Record<keyof LabelledWorkload, string>;

/** The environment that a sidecar's Envoy starts with. */
export function workloadEnvironment(workload: LabelledWorkload): Readonly<Record<string, string>> {
  const entries = Object.entries(variables) as readonly (readonly [keyof LabelledWorkload, string])[];
  return Object.fromEntries(entries.map(([part, variable]) => [variable, workload[part]]));
}

/** OSM's names. `namespace` is only ever taken off: it is not the server's to say. */
const headers = {
  namespace: "osm-stats-namespace",
  kind: "osm-stats-kind",
  name: "osm-stats-name",
  pod: "osm-stats-pod",
} as const;
const told = ["kind", "name", "pod"] as const;
const removals: readonly JsonMessage[] = Object.values(headers).map((remove) => ({ remove }));

function mutation(mutations: JsonMessage): JsonMessage {
  return extension(
    "envoy.filters.http.header_mutation",
    "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
    { mutations },
  );
}

/**
 * First filter of a server: every answer carries who gave it, the sidecar's own refusals and failures too, and nothing that an application
 * or a caller says of itself in these headers gets through.
 */
export const answererHeaders: JsonMessage = mutation({
  request_mutations: removals,
  response_mutations: [
    ...removals,
    ...told.map((part) => ({
      append: {
        header: { key: headers[part], value: `%ENVIRONMENT(${variables[part]})%` },
        append_action: "OVERWRITE_IF_EXISTS_OR_ADD",
      },
    })),
  ],
});

/** For callers without a sidecar: they are told nothing and have nothing to tell. */
export const noAnswererHeaders: JsonMessage = mutation({
  request_mutations: removals,
  response_mutations: removals,
});

const headerToMetadata = "envoy.filters.http.header_to_metadata";
const headerToMetadataType = "envoy.extensions.filters.http.header_to_metadata.v3.Config";

function metadataEntry(key: string): JsonMessage {
  return { metadata_namespace: destination, key };
}

const takeAnswerer: JsonMessage = {
  response_rules: Object.entries(headers).map(([part, header]) => ({
    header,
    on_header_present: metadataEntry(part),
    remove: true,
  })),
};

/** In a caller's chain: the answer's headers become metadata of the request. */
export const answererFilter: JsonMessage = extension(headerToMetadata, headerToMetadataType, takeAnswerer);

/** Where a chain has routes that leave the mesh too: each virtual host of the mesh asks for it by `meshHost`. */
export const answererFilterByHost: JsonMessage = extension(headerToMetadata, headerToMetadataType);

const ofTheMesh = "mesh";

/** `typed_per_filter_config` of a virtual host whose requests count. */
export const meshHost: JsonMessage = {
  [headerToMetadata]: typed(headerToMetadataType, {
    ...takeAnswerer,
    request_rules: [{ header: ":method", on_header_present: { ...metadataEntry(ofTheMesh), value: "1" } }],
  }),
};

interface Operator {
  readonly command: string;
  readonly param: string;
}

function firstOf(...operators: readonly Operator[]): string {
  return `%COALESCE(${JSON.stringify({ operators })})%`;
}

/** Key of an endpoint that is many: said only when no answer said better. */
const unansweredKind = "unanswered_kind";

const ofEndpoint = (key: string): Operator => ({ command: "METADATA", param: `UPSTREAM_HOST:${destination}:${key}` });
const ofAnswer = (key: string): Operator => ({ command: "DYNAMIC_METADATA", param: `${destination}:${key}` });
const ofRoute = (key: string): Operator => ({ command: "METADATA", param: `ROUTE:${destination}:${key}` });

/** What this side knows goes before what the other says of itself. */
const destinationFormats: Readonly<Record<keyof LabelledWorkload, string>> = {
  namespace: `%METADATA(ROUTE:${destination}:namespace)%`,
  kind: firstOf(ofEndpoint("kind"), ofAnswer("kind"), ofEndpoint(unansweredKind), ofRoute("kind")),
  name: firstOf(ofEndpoint("name"), ofAnswer("name"), ofEndpoint("service"), ofRoute("name")),
  pod: firstOf(ofEndpoint("pod"), ofAnswer("pod"), ofRoute("pod")),
  cluster: firstOf(ofEndpoint("cluster"), ofRoute("cluster")),
};

/**
 * Series of one chain. Beyond them requests with new label values are not counted, and what was not seen for an eviction interval
 * makes room: pods that come and go must not grow a proxy without end. Each chain has a bound of its own, so
 * that a service whose pods never stand still takes nothing from the others. (A `sharing_name` would also crash `--mode validate`.)
 */
export const requestSeriesBound = { counters: 2000, histograms: 500 } as const;

const scope: JsonMessage = {
  max_counters: requestSeriesBound.counters,
  max_histograms: requestSeriesBound.histograms,
  enable_eviction: true,
};

function tags(podLabel: boolean): readonly JsonMessage[] {
  const parts = (Object.keys(variables) as readonly (keyof LabelledWorkload)[]).filter(
    (part) => part !== "pod" || podLabel,
  );
  return [
    ...parts.map((part) => ({ name: `source_${part}`, value_format: `%ENVIRONMENT(${variables[part]})%` })),
    ...parts.map((part) => ({ name: `destination_${part}`, value_format: destinationFormats[part] })),
    // of a split's backends the one that was chosen: TrafficMetrics of Services and TrafficSplits are read from it
    { name: "destination_service", value_format: firstOf(ofEndpoint("service"), ofRoute("service")) },
  ];
}

function statsLog(podLabel: boolean, filter?: JsonMessage): JsonMessage {
  const labels = tags(podLabel);
  const code = { name: "response_code", value_format: "%RESPONSE_CODE%" };
  // the HTTP status of a gRPC call is 200 even where a sidecar refuses it or nobody answers; of other requests it is empty, which is no label
  const grpcStatus = { name: "grpc_status", value_format: "%GRPC_STATUS_NUMBER%" };
  const fields = {
    stats_scope: scope,
    counters: [{ stat: { name: "osm_request_total", tags: [...labels, code, grpcStatus] }, value_fixed: 1 }],
    histograms: [
      { stat: { name: "osm_request_duration_ms", tags: labels }, unit: "Milliseconds", value_format: "%DURATION%" },
    ],
  };
  return {
    ...extension("envoy.access_loggers.stats", "envoy.extensions.access_loggers.stats.v3.Config", fields),
    ...(filter === undefined ? {} : { filter }),
  };
}

const everyRequest = { withPods: statsLog(true), withoutPods: statsLog(false) };

/** Every request of a chain; one object for all chains. */
export function requestLog(podLabel: boolean): JsonMessage {
  return podLabel ? everyRequest.withPods : everyRequest.withoutPods;
}

/** An opened tunnel is no request: what goes through it is, and is counted where it comes out. */
const countedAtProxy: JsonMessage = {
  and_filter: {
    filters: [
      {
        metadata_filter: {
          matcher: { filter: destination, path: [{ key: ofTheMesh }], value: { present_match: true } },
          match_if_key_not_found: false,
        },
      },
      {
        or_filter: {
          filters: [
            { header_filter: { header: { name: ":method", string_match: { exact: "CONNECT" }, invert_match: true } } },
            {
              status_code_filter: {
                comparison: { op: "GE", value: { default_value: 400, runtime_key: "isthmus.counted_tunnels" } },
              },
            },
          ],
        },
      },
    ],
  },
};

/** Requests to virtual hosts that are `meshHost`. */
export function proxyRequestLog(podLabel: boolean): JsonMessage {
  return statsLog(podLabel, countedAtProxy);
}

export interface Destination extends Omit<LabelledWorkload, "pod"> {
  readonly service: string;
}

/** For a request to what is no service of the mesh. */
export const unknownDestination: Destination = {
  ...{ cluster: unknown, namespace: unknown, kind: unknown, name: unknown },
  service: unknown,
};

/**
 * Whom a request to a service is meant for while nobody has answered it: the workload behind it, or the service itself where there is
 * none in this cluster, or more than one.
 */
export function destinationOf({ namespace, name, scope, ports }: ServiceIr, here: string): Destination {
  const cluster = scope === "cluster" || ports.some(({ local }) => local.length > 0) ? here : unknown;
  const workloads = new Map(
    ports.flatMap(({ local }) => local.map((pod) => [`${pod.workloadKind}/${pod.workloadName}`, pod] as const)),
  );
  const [only] = workloads.values();
  return workloads.size === 1 && only !== undefined && only.workloadName !== ""
    ? { cluster, namespace, kind: only.workloadKind, name: only.workloadName, service: name }
    : { cluster, namespace, kind: "Service", name, service: name };
}

/** The same routes, each with whom it is meant for. */
export function describedRoutes(routes: readonly JsonMessage[], to: Destination): readonly JsonMessage[] {
  const metadata = { filter_metadata: { [destination]: { ...to, pod: unknown } } };
  return routes.map((route) => ({ ...route, metadata }));
}

/** A route configuration whose requests are all meant for one destination. */
export function meantFor(table: JsonMessage, to: Destination): JsonMessage {
  const hosts = table["virtual_hosts"] as readonly JsonMessage[];
  const described = hosts.map((host) => ({
    ...host,
    routes: describedRoutes(host["routes"] as readonly JsonMessage[], to),
  }));
  return { ...table, virtual_hosts: described };
}

/** Metadata of a pod as an endpoint of a service. Nobody speaks for a pod without a sidecar, so its own name is said here too. */
export function podMetadata(endpoint: LocalEndpoint, service: string): JsonMessage {
  const { workloadKind, workloadName, podName, meshed } = endpoint;
  const described = { service, ...(workloadName === "" ? {} : { kind: workloadKind, name: workloadName }) };
  return { [destination]: meshed ? described : { kind: unknown, name: unknown, ...described, pod: podName } };
}

/** Metadata of another member's gateway as an endpoint of a service: which workload answered, the answer says. */
export function gatewayMetadata({ cluster }: RemoteBackend, service: string): JsonMessage {
  return { [destination]: { cluster, service, [unansweredKind]: "Service" } };
}
