// Access policy as Envoy enforces it at the server. One RBAC policy per grant: principals ORed, permission = port AND any match;
// policies are ORed, so overlapping grants never lose one (OSM #5297). Revoked trust domains are denied first, by a filter of their own.
// HTTP policy must only ever be delivered by RDS (envoy-facts 2): the filters in LDS hold a policy that denies everything.
import type { FleetDomain, TrustDomain } from "../../shared/ids.ts";
import { trustDomainOf, workloadSpiffeId, type ClusterName } from "../../shared/ids.ts";
import { opensHttp, opensTcp, wholePathRegex } from "../ir/grants.ts";
import type { GrantIr, HttpMatchIr, SourceIr } from "../ir/types.ts";
import type { JsonMessage } from "./resource.ts";
import { anyTrustDomainRegex, escapeRegex } from "./tls.ts";
import { extension, typed } from "./typed-config.ts";

const httpRbac = "envoy.extensions.filters.http.rbac.v3";
const revokedFilter = "isthmus.revoked";
const grantsFilter = "isthmus.grants";

/** What a server enforces. */
export interface Policy {
  readonly fleet: FleetDomain;
  readonly grants: readonly GrantIr[];
  readonly permissive: boolean;
  readonly revoked: readonly string[];
  /** Domains of other fleets that a grant speaks of, and whose roots are known. */
  readonly foreign: readonly string[];
}

function principal(source: SourceIr, ownFleet: FleetDomain): JsonMessage {
  const { namespace, serviceAccount, cluster, fleet = ownFleet } = source;
  if (cluster === "*") {
    const path = escapeRegex(`/ns/${namespace}/sa/${serviceAccount}`);
    return {
      authenticated: { principal_name: { safe_regex: { regex: `spiffe://${anyTrustDomainRegex(fleet)}${path}` } } },
    };
  }
  // sources hold cluster names that the IR has parsed
  const trustDomain: TrustDomain = trustDomainOf(cluster as ClusterName, fleet);
  return { authenticated: { principal_name: { exact: workloadSpiffeId({ trustDomain, namespace, serviceAccount }) } } };
}

function headerRule(name: string, matcher: JsonMessage): JsonMessage {
  return { header: { name, string_match: matcher } };
}

function any(rules: readonly JsonMessage[]): JsonMessage {
  const [only] = rules;
  return rules.length === 1 && only !== undefined ? only : { or_rules: { rules } };
}

function all(rules: readonly JsonMessage[]): JsonMessage {
  const [first] = rules;
  if (first === undefined) return { any: true };
  return rules.length === 1 ? first : { and_rules: { rules } };
}

/** The query is no part of the path (url_path). */
function httpMatch(match: HttpMatchIr): JsonMessage {
  const path =
    match.pathRegex === "" ? [] : [{ url_path: { path: { safe_regex: { regex: wholePathRegex(match.pathRegex) } } } }];
  const methods = match.methods.includes("*")
    ? []
    : match.methods.map((method) => headerRule(":method", { exact: method }));
  const headers = match.headers.map(({ name, valueRegex }) =>
    headerRule(name.toLowerCase() === "host" ? ":authority" : name, { safe_regex: { regex: valueRegex } }),
  );
  return all([...path, ...(methods.length === 0 ? [] : [any(methods)]), ...headers]);
}

function portRules(grant: GrantIr): readonly JsonMessage[] {
  return grant.ports.length === 0 ? [] : [any(grant.ports.map((port) => ({ destination_port: port })))];
}

/** Port AND match of this one grant: ports of one target and routes of another never combine. */
function httpPermission(grant: GrantIr): JsonMessage {
  if (grant.http === "any") return all(portRules(grant));
  return all([...portRules(grant), any(grant.http.map(httpMatch))]);
}

/** Two grants of one origin keep apart by number; the name appears in Envoy's logs as the reason. */
function policies(
  grants: readonly GrantIr[],
  fleet: FleetDomain,
  permission: (grant: GrantIr) => JsonMessage,
): JsonMessage {
  const named: Record<string, JsonMessage> = {};
  for (const grant of grants) {
    const base = `${grant.origin.kind}/${grant.origin.namespace}/${grant.origin.name}`;
    let name = base;
    for (let copy = 2; name in named; copy += 1) name = `${base}#${copy}`;
    named[name] = {
      permissions: [permission(grant)],
      principals: grant.sources.map((source) => principal(source, fleet)),
    };
  }
  return named;
}

const everything: JsonMessage = { everything: { permissions: [{ any: true }], principals: [{ any: true }] } };

function allowRules(granted: JsonMessage, permissive: boolean): JsonMessage {
  return { action: "ALLOW", policies: permissive ? everything : granted };
}

/** The trailing slash ends the host: no trust domain is the prefix of another. */
function denyRevoked(revoked: readonly string[]): JsonMessage {
  if (revoked.length === 0) return { action: "DENY", policies: {} };
  const principals = revoked.map((trustDomain) => ({
    authenticated: { principal_name: { prefix: `spiffe://${trustDomain}/` } },
  }));
  return { action: "DENY", policies: { revoked: { permissions: [{ any: true }], principals } } };
}

/** In LDS: denies everything, until and unless the virtual host says otherwise. */
export const httpPolicyFilters: readonly JsonMessage[] = [
  extension(revokedFilter, `${httpRbac}.RBAC`, { rules: { action: "DENY", policies: {} } }),
  extension(grantsFilter, `${httpRbac}.RBAC`, { rules: { action: "ALLOW", policies: {} } }),
];

/** `typed_per_filter_config` of a virtual host: the policy itself. */
export function httpPolicy(policy: Policy): JsonMessage {
  const granted = policies(policy.grants.filter(opensHttp), policy.fleet, httpPermission);
  return {
    [revokedFilter]: typed(`${httpRbac}.RBACPerRoute`, { rbac: { rules: denyRevoked(policy.revoked) } }),
    [grantsFilter]: typed(`${httpRbac}.RBACPerRoute`, { rbac: { rules: allowRules(granted, policy.permissive) } }),
  };
}

/**
 * Network filters of a TCP port. They are part of a chain, and a changed chain closes its connections, so only grants that
 * speak of this very port are in, and no revocation: who is revoked is refused by TLS (rootsSecret) and cut off at the gateway.
 */
export function tcpPolicyFilters(policy: Policy, port: number): readonly JsonMessage[] {
  const concerned = policy.grants.filter((grant) => opensTcp(grant, port));
  const granted = policies(concerned, policy.fleet, () => ({ any: true }));
  return [
    extension(grantsFilter, "envoy.extensions.filters.network.rbac.v3.RBAC", {
      stat_prefix: grantsFilter,
      rules: allowRules(granted, policy.permissive),
    }),
  ];
}
