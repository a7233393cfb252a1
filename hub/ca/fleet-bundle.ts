// The fleet's trust bundle as the hub states it: roots and revoked trust domains, signed, with a number that only rises.
// Kept in fleet.json before it is stated, so that no restart of the hub ever takes a statement back. One writer of that file:
// every change goes through here, one after the other. Used by authority.ts.
import type { TrustDomain } from "../../shared/ids.ts";
import { bundleStatement, type FederatedFleet, type TrustBundle } from "../../shared/pki/bundle.ts";
import type { KeyProvider } from "../../shared/pki/key.ts";
import type { ForeignFleet } from "../federation/foreign-fleet.ts";
import { trustedRoots } from "../rotation/rotation.ts";
import { writeFleetFile, type FleetFile } from "./fleet-file.ts";
import type { Root } from "./root.ts";

export interface FleetBundle {
  current(): TrustBundle;
  /** What fleet.json says now. */
  file(): FleetFile;
  /** Its roots, opened, in the same order. */
  roots(): readonly Root[];
  isRevoked(domain: TrustDomain): boolean;
  /** False: it is so already, nothing was written. */
  setRevoked(domain: TrustDomain, revoked: boolean): Promise<boolean>;
  /** On disk and stated when it resolves. `change` answers the same object to leave all as it is: then false. */
  update(change: (file: FleetFile) => FleetFile): Promise<boolean>;
}

export interface FleetBundleDeps {
  readonly dataDir: string;
  readonly fleet: FleetFile;
  readonly openRoots: (fleet: FleetFile) => Promise<readonly Root[]>;
  readonly signer: KeyProvider;
}

export async function openFleetBundle({ dataDir, fleet, openRoots, signer }: FleetBundleDeps): Promise<FleetBundle> {
  let file = fleet;
  let roots = await openRoots(file);
  let current = await signBundle(file, roots, signer);
  let last: Promise<unknown> = Promise.resolve();
  const isRevoked = (domain: TrustDomain) => file.bundle.revokedTrustDomains.includes(domain);
  const write = async (change: (file: FleetFile) => FleetFile): Promise<boolean> => {
    const next = change(file);
    if (next === file) return false;
    // opened and signed before it is written: what cannot be stated must not be what the next start finds
    const opened = next.roots === file.roots ? roots : await openRoots(next);
    const signed = next.bundle === file.bundle ? current : await signBundle(next, opened, signer);
    await writeFleetFile(dataDir, next);
    [file, roots, current] = [next, opened, signed];
    return true;
  };
  const update: FleetBundle["update"] = (change) => {
    // one after the other: two changes at once would take the same number
    const turn = last.then(() => write(change));
    last = turn.catch(() => undefined);
    return turn;
  };
  return {
    current: () => current,
    file: () => file,
    roots: () => roots,
    isRevoked,
    setRevoked: (domain, revoked) => update((fleetFile) => withRevoked(fleetFile, domain, revoked)),
    update,
  };
}

function withRevoked(file: FleetFile, domain: TrustDomain, revoked: boolean): FleetFile {
  const { bundle } = file;
  if (bundle.revokedTrustDomains.includes(domain) === revoked) return file;
  const others = bundle.revokedTrustDomains.filter((name) => name !== domain);
  const revokedTrustDomains = revoked ? [...others, domain].sort() : others;
  return { ...file, bundle: { ...bundle, sequence: bundle.sequence + 1, revokedTrustDomains } };
}

async function signBundle(fleet: FleetFile, roots: readonly Root[], signer: KeyProvider): Promise<TrustBundle> {
  const { sequence, revokedTrustDomains } = fleet.bundle;
  const { federation = [] } = fleet;
  const statement = {
    sequence,
    rootsDer: trustedRoots(roots).map((root) => root.der),
    signerSpkiDer: signer.spkiDer,
    fleetDomain: fleet.fleetDomain,
    revokedTrustDomains,
    ...(federation.length === 0 ? {} : { federated: federation.map(statedFleet) }),
  };
  return { ...statement, signature: await signer.sign(Buffer.from(bundleStatement(statement))) };
}

function statedFleet({ fleetDomain, roots }: ForeignFleet): FederatedFleet {
  return { fleetDomain, rootsDer: roots.map((root) => new Uint8Array(Buffer.from(root, "base64"))) };
}
