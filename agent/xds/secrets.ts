// SDS: the proxy's own SVID, the fleet's roots, and for each service port the exact identities that may answer for it.
// Called by translate. An empty list of identities must accept nobody: Envoy reads "no matcher" as "anybody our roots vouch for".
import type { FleetDomain, SpiffeId } from "../../shared/ids.ts";
import { fixedNames } from "./names.ts";
import type { ProxyTrust } from "./proxy.ts";
import type { JsonMessage } from "./resource.ts";
import { trustedWorkloadRegex } from "./tls.ts";

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

export interface IdentitiesInput {
  readonly name: string;
  readonly identities: readonly SpiffeId[];
  readonly fleet: FleetDomain;
  readonly rootsPem: string;
}

/** The union of all members' identities weakens nothing: each entry is an authorised exporter's, and cluster CAs are name-constrained. */
export function identitiesSecret(input: IdentitiesInput): JsonMessage {
  // the fleet domain itself is nobody's trust domain, so no certificate can hold this name
  const accepted = input.identities.length === 0 ? [`spiffe://${input.fleet}/nobody`] : input.identities;
  return {
    name: input.name,
    validation_context: {
      trusted_ca: { inline_string: input.rootsPem },
      match_typed_subject_alt_names: accepted.map((identity) => ({ san_type: "URI", matcher: { exact: identity } })),
    },
  };
}
