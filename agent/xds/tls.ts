// TLS contexts of the mesh: client to server sidecar (through gateways that only pass it on), and the gateway's health chain.
// Certificates and trust come by SDS; a context here changes only with the fleet's name, so that no listener drains on renewal.
import type { FleetDomain } from "../../shared/ids.ts";
import { labelExcept } from "./label-regex.ts";
import { fixedNames, localSni } from "./names.ts";
import type { JsonMessage } from "./resource.ts";
import { extension, fromAds } from "./typed-config.ts";

/**
 * Offered by our sidecars alone: tells the mesh's TLS from TLS that an application originates, which shares the port. The codec
 * is fixed on both sides, so the protocol inside needs no name of its own.
 */
export const meshAlpn = "isthmus";

/** What sidecars of another fleet offer: it chooses the chain that knows that fleet's roots and no others. */
export function foreignAlpn(fleet: string): string {
  return `${meshAlpn}/${fleet}`;
}

const tlsExtension = "envoy.transport_sockets.tls";
const tlsTypes = "envoy.extensions.transport_sockets.tls.v3";

/** Every peer is an Envoy of ours. */
const tlsParams: JsonMessage = { tls_minimum_protocol_version: "TLSv1_3", tls_maximum_protocol_version: "TLSv1_3" };

function sds(name: string): JsonMessage {
  return { name, sds_config: fromAds };
}

/** RE2 text that matches `text` and nothing else. */
export function escapeRegex(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

/** RE2 for one member's trust domain, whichever: one label, so that no deeper name can pose as a member. */
export function anyTrustDomainRegex(fleet: FleetDomain): string {
  return `${labelExcept([])}\\.${escapeRegex(fleet)}`;
}

/**
 * A SPIFFE ID of a workload of this fleet whose member is not revoked. A prefix would not do: `spiffe://` + anything is a prefix
 * of a foreign domain.
 */
export function trustedWorkloadRegex(fleet: FleetDomain, revoked: readonly string[]): string {
  return `${trustedMemberRegex(fleet, revoked)}/ns/[^/]+/sa/[^/]+`;
}

function trustedMemberRegex(fleet: FleetDomain, revoked: readonly string[]): string {
  const suffix = `.${fleet}`;
  const labels = revoked.filter((name) => name.endsWith(suffix)).map((name) => name.slice(0, -suffix.length));
  return `spiffe://${labelExcept(labels)}\\.${escapeRegex(fleet)}`;
}

/** An account of this name in whichever member is not revoked. */
export function trustedAccountRegex(
  { namespace, serviceAccount }: { readonly namespace: string; readonly serviceAccount: string },
  fleet: FleetDomain,
  revoked: readonly string[],
): string {
  return `${trustedMemberRegex(fleet, revoked)}${escapeRegex(`/ns/${namespace}/sa/${serviceAccount}`)}`;
}

/** Client side of a service port: who may answer is an exact list (SDS), the server's name is chosen per endpoint in EDS. */
export function upstreamTls(identities: string, fleet: FleetDomain): JsonMessage {
  return extension(tlsExtension, `${tlsTypes}.UpstreamTlsContext`, {
    common_tls_context: {
      tls_params: tlsParams,
      alpn_protocols: [meshAlpn],
      tls_certificate_sds_secret_configs: [sds(fixedNames.svid)],
      validation_context_sds_secret_config: sds(identities),
    },
    sni: localSni(fleet),
    auto_host_sni: true,
    // a resumed session skips the check against roots and identities that have changed since
    max_session_keys: 0,
  });
}

/**
 * Server side: whoever the secret `trusted` names may connect, RBAC decides what it may do. Who that is changes with every
 * revocation, so it comes by SDS alone: here it would close the connections of all callers (envoy-facts 4).
 */
export function downstreamTls(alpn: readonly string[], trusted: string = fixedNames.roots): JsonMessage {
  return extension(tlsExtension, `${tlsTypes}.DownstreamTlsContext`, {
    common_tls_context: {
      tls_params: tlsParams,
      alpn_protocols: [...alpn],
      tls_certificate_sds_secret_configs: [sds(fixedNames.svid)],
      validation_context_sds_secret_config: sds(trusted),
    },
    require_client_certificate: true,
    disable_stateless_session_resumption: true,
    disable_stateful_session_resumption: true,
  });
}
