// SDS: the proxy's own SVID, the fleet's roots, and for each service port the exact identities that may answer for it.
// Called by translate. An empty list of identities must accept nobody: Envoy reads "no matcher" as "anybody our roots vouch for".
import {
  trustDomainOf,
  workloadSpiffeId,
  type ClusterName,
  type FleetDomain,
  type SpiffeId,
} from "../../shared/ids.ts";
import type { ForeignFleet } from "../ir/inputs.ts";
import type { SourceIr } from "../ir/types.ts";
import { fixedNames, formatName } from "./names.ts";
import type { ProxyTrust } from "./proxy.ts";
import type { JsonMessage } from "./resource.ts";
import { trustedAccountRegex, trustedWorkloadRegex } from "./tls.ts";

export function svidSecret(trust: ProxyTrust): JsonMessage {
  return {
    name: fixedNames.svid,
    tls_certificate: {
      certificate_chain: { inline_string: trust.chainPem },
      private_key: { inline_string: trust.keyPem },
    },
  };
}

export interface CallersInput {
  readonly rootsPem: string;
  readonly fleet: FleetDomain;
  readonly revoked: readonly string[];
  /** The fleet that this proxy is of, where `fleet` is another one. */
  readonly own?: FleetDomain;
}

/** Who may connect to a server at all. A revoked member is refused in the handshake, and no other connection notices. */
export function rootsSecret({ rootsPem, fleet, revoked }: CallersInput): JsonMessage {
  const matcher = { safe_regex: { regex: trustedWorkloadRegex(fleet, revoked) } };
  return {
    name: fixedNames.roots,
    validation_context: {
      trusted_ca: { inline_string: rootsPem },
      match_typed_subject_alt_names: [{ san_type: "URI", matcher }],
    },
  };
}

function accountMatcher(source: SourceIr, { fleet, revoked, own = fleet }: CallersInput): readonly JsonMessage[] {
  const { cluster, namespace, serviceAccount } = source;
  // an account of another fleet comes in by another chain: here its member's name would be one of ours
  if ((source.fleet ?? own) !== fleet) return [];
  if (cluster === "*") return [{ safe_regex: { regex: trustedAccountRegex(source, fleet, revoked) } }];
  // sources hold cluster names that the IR has parsed
  const trustDomain = trustDomainOf(cluster as ClusterName, fleet);
  if (revoked.includes(trustDomain)) return [];
  return [{ exact: workloadSpiffeId({ trustDomain, namespace, serviceAccount }) }];
}

/**
 * Who may connect to a port of raw TCP: only those whom a grant lets in. Envoy's network RBAC looks at a connection when its first byte
 * comes, but tcp_proxy connects before that: a server that speaks first would greet whoever has a certificate of the fleet
 * (github.com/envoyproxy/envoy/issues/9023, open in 1.40). In the handshake nobody has connected to anything yet.
 */
export function callersSecret(name: string, sources: readonly SourceIr[], input: CallersInput): JsonMessage {
  const accepted = sources.flatMap((source) => accountMatcher(source, input));
  const matchers = accepted.length === 0 ? [{ exact: nobodyOf(input.fleet) }] : accepted;
  return {
    name,
    validation_context: {
      trusted_ca: { inline_string: input.rootsPem },
      match_typed_subject_alt_names: matchers.map((matcher) => ({ san_type: "URI", matcher })),
    },
  };
}

/** The fleet domain itself is nobody's trust domain, so no certificate can hold this name. */
function nobodyOf(fleet: FleetDomain): string {
  return `spiffe://${fleet}/nobody`;
}

/** Another fleet's workloads, by its own roots: no root vouches for two fleets. */
export function foreignRootsSecret({ fleetDomain, rootsPem }: ForeignFleet): JsonMessage {
  const name = formatName({ kind: "foreign-roots", fleet: fleetDomain });
  return { ...rootsSecret({ rootsPem, fleet: fleetDomain, revoked: [] }), name };
}

export interface IdentitiesInput {
  readonly name: string;
  readonly identities: readonly SpiffeId[];
  readonly fleet: FleetDomain;
  readonly rootsPem: string;
}

/** The union of all members' identities weakens nothing: each entry is an authorised exporter's, and cluster CAs are name-constrained. */
export function identitiesSecret(input: IdentitiesInput): JsonMessage {
  const accepted = input.identities.length === 0 ? [nobodyOf(input.fleet)] : input.identities;
  return {
    name: input.name,
    validation_context: {
      trusted_ca: { inline_string: input.rootsPem },
      match_typed_subject_alt_names: accepted.map((identity) => ({ san_type: "URI", matcher: { exact: identity } })),
    },
  };
}
