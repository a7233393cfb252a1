// RDS: a client's routes to one service port (retries by method, the caller's HTTP version noted) and a server's routes to
// its application (policy, HTTP version restored). Called by translate. The address chose the service, so every host name
// routes alike: a trailing dot, a bare name or somebody else's Host header changes nothing.
import type { AppProtocol } from "../ir/types.ts";
import { answerAll } from "./connection-manager.ts";
import { formatName } from "./names.ts";
import { httpPolicy, type Policy } from "./rbac.ts";
import type { JsonMessage } from "./resource.ts";
import { extension } from "./typed-config.ts";

/** HTTP version that the application spoke: the hop between sidecars is always HTTP/2. */
export const protocolHeader = "x-isthmus-protocol";

/**
 * On an answer that the server's sidecar made because its application gave none. "undelivered": the application was never reached,
 * so even a POST may be sent elsewhere; "interrupted": it was, so only what may be sent twice is. An application's own 5xx is its answer.
 */
export const failureHeader = "x-isthmus-failure";
export const failures = { undelivered: ["UF", "UH"], interrupted: ["UC", "UR", "UPE"] } as const;

/** RFC 9110 9.2.2: sent twice they do what once would. */
const idempotentMethods = "GET|HEAD|OPTIONS|TRACE|PUT|DELETE";

const otherHostsAndPriorities: JsonMessage = {
  num_retries: 3,
  retry_host_predicate: [
    extension(
      "envoy.retry_host_predicates.previous_hosts",
      "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
    ),
  ],
  host_selection_retry_max_attempts: "5",
  retry_priority: extension(
    "envoy.retry_priorities.previous_priorities",
    "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
    { update_frequency: 1 },
  ),
  retry_back_off: { base_interval: "0.01s", max_interval: "0.1s" },
};

/** `reset` delivered one POST four times (envoy-facts 9), so it is for idempotent methods alone. */
const retryIdempotent: JsonMessage = {
  retry_on: "reset,connect-failure,refused-stream,retriable-headers",
  retriable_headers: [{ name: failureHeader, present_match: true }],
  ...otherHostsAndPriorities,
};
/** Fit for what is no HTTP too: nothing reached the other end. */
export const retryUndelivered: JsonMessage = {
  retry_on: "connect-failure,refused-stream,retriable-headers",
  retriable_headers: [{ name: failureHeader, string_match: { exact: "undelivered" satisfies keyof typeof failures } }],
  ...otherHostsAndPriorities,
};

/** A cluster and how much of a service's ready pods it holds. */
export interface Share {
  readonly cluster: string;
  readonly weight: number;
}

/** Envoy refuses weights that are all zero; a service with nothing ready answers 503 from its first cluster. */
function target(shares: readonly Share[]): JsonMessage {
  const ready = shares.filter(({ weight }) => weight > 0);
  const [only] = ready.length === 0 ? shares : ready;
  if (ready.length <= 1) return { cluster: only?.cluster ?? "" };
  return { weighted_clusters: { clusters: ready.map(({ cluster, weight }) => ({ name: cluster, weight })) } };
}

function clientRoute(headers: readonly JsonMessage[], shares: readonly Share[], retry: JsonMessage): JsonMessage {
  const match = { prefix: "/", ...(headers.length === 0 ? {} : { headers }) };
  return { match, route: { ...target(shares), timeout: "0s", retry_policy: retry } };
}

const idempotent: JsonMessage = { name: ":method", string_match: { safe_regex: { regex: idempotentMethods } } };

/** What a client's requests to one service port go by, among those that `headers` match. */
export function clientRoutes(shares: readonly Share[], headers: readonly JsonMessage[] = []): readonly JsonMessage[] {
  return [
    clientRoute([idempotent, ...headers], shares, retryIdempotent),
    clientRoute(headers, shares, retryUndelivered),
  ];
}

/** Between a client's sidecar and the server's: what the application spoke is told, what a sidecar noted is taken off. */
export const clientHeaders: JsonMessage = {
  request_headers_to_add: [
    { header: { key: protocolHeader, value: "%PROTOCOL%" }, append_action: "OVERWRITE_IF_EXISTS_OR_ADD" },
  ],
  response_headers_to_remove: [failureHeader],
};

/** Routes of a client to one service port; `name` is also its cluster, which takes everything unless `shares` says otherwise. */
export function outboundRoutes(name: string, shares: readonly Share[] = [{ cluster: name, weight: 1 }]): JsonMessage {
  return {
    name,
    validate_clusters: false,
    virtual_hosts: [
      {
        name,
        domains: ["*"],
        ...clientHeaders,
        routes: clientRoutes(shares),
      },
    ],
  };
}

export interface ServerPort {
  readonly port: number;
  readonly protocol: AppProtocol;
}

function serverRoute(cluster: string, match: JsonMessage = {}): JsonMessage {
  return { match: { prefix: "/", ...match }, route: { cluster, timeout: "0s" } };
}

function applicationRoutes({ port, protocol }: ServerPort): readonly JsonMessage[] {
  const h2 = formatName({ kind: "application", port, protocol: "h2" });
  if (protocol !== "http") return [serverRoute(h2)];
  const spokeHttp2 = { headers: [{ name: protocolHeader, string_match: { exact: "HTTP/2" } }] };
  return [serverRoute(h2, spokeHttp2), serverRoute(formatName({ kind: "application", port, protocol: "h1" }))];
}

/** Routes of a server behind mutual TLS: the policy is on the virtual host, so open connections obey a change at once. */
export function inboundRoutes(serverPort: ServerPort, policy: Policy): JsonMessage {
  const name = formatName({ kind: "inbound", port: serverPort.port });
  return {
    name,
    validate_clusters: false,
    virtual_hosts: [
      {
        name,
        domains: ["*"],
        request_headers_to_remove: [protocolHeader],
        // an application's own answer must not pose as its sidecar's
        response_headers_to_remove: [failureHeader],
        typed_per_filter_config: httpPolicy(policy),
        routes: applicationRoutes(serverPort),
      },
    ],
  };
}

export const mutualTlsOnly =
  "isthmus: this port takes mutual TLS from workloads of the mesh only; is the caller's namespace labelled for injection, and its pod restarted since?";

/** Routes for callers without a sidecar: refused with the reason; in permissive mode served. */
export function plaintextRoutes({ port, protocol }: ServerPort, permissive: boolean): JsonMessage {
  const name = formatName({ kind: "inbound-plaintext", port });
  if (!permissive) return answerAll(name, 403, mutualTlsOnly);
  const cluster = formatName({ kind: "application", port, protocol: protocol === "http" ? "same" : "h2" });
  return {
    name,
    validate_clusters: false,
    virtual_hosts: [
      { name, domains: ["*"], request_headers_to_remove: [protocolHeader], routes: [serverRoute(cluster)] },
    ],
  };
}
