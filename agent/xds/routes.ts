// RDS: a client's routes to one service port (retries by method, the caller's HTTP version noted) and a server's routes to
// its application (policy, HTTP version restored). Called by translate. The address chose the service, so every host name
// routes alike: a trailing dot, a bare name or somebody else's Host header changes nothing.
import { wholePathRegex } from "../ir/grants.ts";
import type { AppProtocol, HttpMatchIr } from "../ir/types.ts";
import { answerAll } from "./connection-manager.ts";
import { formatName } from "./names.ts";
import { httpPolicy, type Policy } from "./rbac.ts";
import type { JsonMessage } from "./resource.ts";
import { destination, type Share } from "./shares.ts";
import { escapeRegex } from "./tls.ts";
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

/** Where a client's calls to one service port go. */
export interface Traffic {
  /** Clusters of the service itself. */
  readonly own: readonly Share[];
  readonly split?: { readonly matches: "all" | readonly HttpMatchIr[]; readonly shares: readonly Share[] } | undefined;
}

interface Selection {
  readonly path: JsonMessage;
  readonly headers: readonly JsonMessage[];
}

function clientRoute({ path, headers }: Selection, shares: readonly Share[], retry: JsonMessage): JsonMessage {
  const match = { ...path, ...(headers.length === 0 ? {} : { headers }) };
  return { match, route: { ...destination(shares), timeout: "0s", retry_policy: retry } };
}

const idempotent: JsonMessage = { name: ":method", string_match: { safe_regex: { regex: idempotentMethods } } };

/** Two, since what may be sent again depends on the method. A retry stays with the cluster that the weights chose. */
function routesTo({ path, headers }: Selection, shares: readonly Share[]): readonly JsonMessage[] {
  return [
    clientRoute({ path, headers: [idempotent, ...headers] }, shares, retryIdempotent),
    clientRoute({ path, headers }, shares, retryUndelivered),
  ];
}

function selectionOf({ pathRegex, methods, headers }: HttpMatchIr): Selection {
  const method = { name: ":method", string_match: { safe_regex: { regex: methods.map(escapeRegex).join("|") } } };
  return {
    path: pathRegex === "" ? { prefix: "/" } : { safe_regex: { regex: wholePathRegex(pathRegex) } },
    headers: [
      ...(methods.length === 0 ? [] : [method]),
      ...headers.map(({ name, valueRegex }) => ({ name, string_match: { safe_regex: { regex: valueRegex } } })),
    ],
  };
}

/** What a client's requests to one service port go by, among those that `headers` match. */
export function clientRoutes({ own, split }: Traffic, headers: readonly JsonMessage[] = []): readonly JsonMessage[] {
  const every = { path: { prefix: "/" }, headers };
  if (split === undefined) return routesTo(every, own);
  if (split.matches === "all") return routesTo(every, split.shares);
  const matched = split.matches.flatMap((match) => {
    const selected = selectionOf(match);
    return routesTo({ ...selected, headers: [...selected.headers, ...headers] }, split.shares);
  });
  return [...matched, ...routesTo(every, own)];
}

/** Between a client's sidecar and the server's: what the application spoke is told, what a sidecar noted is taken off. */
export const clientHeaders: JsonMessage = {
  request_headers_to_add: [
    { header: { key: protocolHeader, value: "%PROTOCOL%" }, append_action: "OVERWRITE_IF_EXISTS_OR_ADD" },
  ],
  response_headers_to_remove: [failureHeader],
};

/**
 * Routes of a client to one service port. `ownDomains`: names of single pods (`db-0.db.shop`), whose callers have chosen already and are
 * not split.
 */
export function outboundRoutes(name: string, traffic: Traffic, ownDomains: readonly string[] = []): JsonMessage {
  const host = (hostName: string, domains: readonly string[], routes: readonly JsonMessage[]) => {
    return { name: hostName, domains, ...clientHeaders, routes };
  };
  const everything = host(name, ["*"], clientRoutes(traffic));
  if (ownDomains.length === 0) return { name, validate_clusters: false, virtual_hosts: [everything] };
  const pods = host(`${name}|pods`, ownDomains, clientRoutes({ own: traffic.own }));
  return { name, validate_clusters: false, ignore_port_in_host_matching: true, virtual_hosts: [pods, everything] };
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
