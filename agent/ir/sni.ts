// The SNI of a call between members: `p<port>.<service>.<namespace>.<caller>.<callee>.sni.<fleet>`.
// The importer puts it into its endpoints, the exporter's gateway matches it. It is no credential: the server's policy decides.
import type { ClusterName, FleetDomain } from "../../shared/ids.ts";

export interface SniParts {
  readonly port: number;
  readonly service: string;
  readonly namespace: string;
  /** Member the call comes from; cutting it off drains only its chains. */
  readonly caller: ClusterName;
  /** Member whose gateway answers. */
  readonly callee: ClusterName;
  readonly fleetDomain: FleetDomain;
}

/** RFC 6066: a DNS name. Longer ones are refused by TLS libraries, so such a port is not reachable across clusters. */
export const MAX_SNI_LENGTH = 253;

export function sniName(parts: SniParts): string {
  return `p${parts.port}.${parts.service}.${parts.namespace}.${parts.caller}.${parts.callee}.sni.${parts.fleetDomain}`;
}

export function sniFits(parts: SniParts): boolean {
  return sniName(parts).length <= MAX_SNI_LENGTH;
}
