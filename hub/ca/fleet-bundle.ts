// The fleet's trust bundle as the hub states it: roots and revoked trust domains, signed, with a number that only rises.
// Kept in fleet.json before it is stated, so that no restart of the hub ever takes a statement back. Used by authority.ts.
import type { TrustDomain } from "../../shared/ids.ts";
import { bundleStatement, type TrustBundle } from "../../shared/pki/bundle.ts";
import type { KeyProvider } from "../../shared/pki/key.ts";
import { writeFleetFile, type FleetFile } from "./fleet-file.ts";
import type { Root } from "./root.ts";

export interface FleetBundle {
  current(): TrustBundle;
  isRevoked(domain: TrustDomain): boolean;
  /** False: it is so already, nothing was written. */
  setRevoked(domain: TrustDomain, revoked: boolean): Promise<boolean>;
}

export interface FleetBundleDeps {
  readonly dataDir: string;
  readonly fleet: FleetFile;
  readonly roots: readonly Root[];
  readonly signer: KeyProvider;
}

export async function openFleetBundle({ dataDir, fleet, roots, signer }: FleetBundleDeps): Promise<FleetBundle> {
  let file = fleet;
  let current = await signBundle(file, roots, signer);
  let last: Promise<unknown> = Promise.resolve();
  const isRevoked = (domain: TrustDomain) => file.bundle.revokedTrustDomains.includes(domain);
  const change = async (domain: TrustDomain, revoked: boolean): Promise<boolean> => {
    if (isRevoked(domain) === revoked) return false;
    const others = file.bundle.revokedTrustDomains.filter((name) => name !== domain);
    const revokedTrustDomains = revoked ? [...others, domain].sort() : others;
    const bundle = { ...file.bundle, sequence: file.bundle.sequence + 1, revokedTrustDomains };
    const next = { ...file, bundle };
    const signed = await signBundle(next, roots, signer);
    await writeFleetFile(dataDir, next);
    [file, current] = [next, signed];
    return true;
  };
  return {
    current: () => current,
    isRevoked,
    setRevoked: (domain, revoked) => {
      // one after the other: two changes at once would take the same number
      const turn = last.then(() => change(domain, revoked));
      last = turn.catch(() => undefined);
      return turn;
    },
  };
}

async function signBundle(fleet: FleetFile, roots: readonly Root[], signer: KeyProvider): Promise<TrustBundle> {
  const { sequence, revokedTrustDomains } = fleet.bundle;
  const statement = {
    sequence,
    rootsDer: roots.map((root) => root.der),
    signerSpkiDer: signer.spkiDer,
    fleetDomain: fleet.fleetDomain,
    revokedTrustDomains,
  };
  return { ...statement, signature: await signer.sign(Buffer.from(bundleStatement(statement))) };
}
