// The roots of the bundle as PEM, the fleet's own and those of federated fleets, made again only when the bundle is another: what
// did not change is the same value.
import { parseFleetDomain } from "../../shared/ids.ts";
import { certificatePem, chainPem } from "../../shared/pki/pem.ts";
import type { ForeignFleet } from "../ir/inputs.ts";
import type { AgentCredential } from "./agent-credential.ts";

export function rootsReader(credential: Pick<AgentCredential, "state">): () => string {
  let seen: object | undefined;
  let pem = "";
  return () => {
    const { bundle } = credential.state();
    if (bundle !== seen) pem = bundle.rootsDer.map(certificatePem).join("");
    seen = bundle;
    return pem;
  };
}

const noFleets: readonly ForeignFleet[] = [];

/** Each fleet with its own roots: they are never put together. */
export function foreignFleetsReader(credential: Pick<AgentCredential, "state">): () => readonly ForeignFleet[] {
  let seen: object | undefined;
  let fleets = noFleets;
  return () => {
    const { bundle } = credential.state();
    if (bundle !== seen) {
      const stated = (bundle.federated ?? []).flatMap(({ fleetDomain, rootsDer }) => {
        const parsed = parseFleetDomain(fleetDomain);
        const isOther = parsed.ok && fleetDomain !== bundle.fleetDomain && rootsDer.length > 0;
        return isOther ? [{ fleetDomain: parsed.value, rootsPem: chainPem(rootsDer) }] : [];
      });
      if (JSON.stringify(stated) !== JSON.stringify(fleets)) fleets = stated.length === 0 ? noFleets : stated;
    }
    seen = bundle;
    return fleets;
  };
}
