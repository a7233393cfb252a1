// The fleet's roots as a signed, numbered statement, and the rule by which a member takes a new one: whoever can write to
// Redis can add no root and bring back no old one. Pure: the hub signs `bundleStatement`, members verify the signature
// (bundle-signature.ts) and decide here.
import { ok, rejected, type Result } from "../result.ts";
import { hexOf } from "./hex.ts";

/** Wire shape of the proto's TrustBundle. */
export interface TrustBundle {
  readonly sequence: number;
  readonly rootsDer: readonly Uint8Array[];
  readonly signerSpkiDer: Uint8Array;
  readonly signature: Uint8Array;
  readonly fleetDomain: string;
  readonly revokedTrustDomains: readonly string[];
  /** Other fleets that this one verifies, each by its own roots. Absent: none. */
  readonly federated?: readonly FederatedFleet[];
}

export interface FederatedFleet {
  readonly fleetDomain: string;
  readonly rootsDer: readonly Uint8Array[];
}

/** What a member remembers: the bundle it goes by, and the keys whose word it takes. */
export interface HeldTrust {
  readonly bundle: TrustBundle;
  readonly knownSigners: readonly Uint8Array[];
}

const domain = "isthmus trust bundle v1\n";

/** The text that is signed: canonical JSON (fixed key order, sorted sets, hex) behind a line that no other statement of ours has. */
export function bundleStatement(bundle: Omit<TrustBundle, "signature">): string {
  return (
    domain +
    JSON.stringify({
      fleetDomain: bundle.fleetDomain,
      revokedTrustDomains: [...bundle.revokedTrustDomains].sort(),
      roots: bundle.rootsDer.map(hexOf).sort(),
      sequence: bundle.sequence,
      signer: hexOf(bundle.signerSpkiDer),
      ...federatedStatement(bundle.federated ?? []),
    })
  );
}

/** Without other fleets the statement is what it was before there were any. */
function federatedStatement(fleets: readonly FederatedFleet[]): object {
  if (fleets.length === 0) return {};
  const texts = fleets.map(({ fleetDomain, rootsDer }) => [fleetDomain, rootsDer.map(hexOf).sort()] as const);
  return { federated: texts.sort(([a], [b]) => (a < b ? -1 : 1)) };
}

export type Acceptance = "newer" | "unchanged";

/**
 * Whether `offered` replaces what is held. `signatureValid`: it verifies under the key it names. The sequence must rise;
 * the same number with other content is two truths, refused like a step back.
 */
export function acceptBundle(held: HeldTrust, offered: TrustBundle, signatureValid: boolean): Result<Acceptance> {
  const refuse = (message: string) => rejected("ISTHMUS_BUNDLE_REFUSED", message, "bundle");
  if (offered.fleetDomain !== held.bundle.fleetDomain) {
    return refuse(`it is of fleet ${offered.fleetDomain}, not ${held.bundle.fleetDomain}`);
  }
  if (offered.rootsDer.length === 0) return refuse("it holds no root");
  const signer = hexOf(offered.signerSpkiDer);
  if (!held.knownSigners.some((known) => hexOf(known) === signer)) return refuse("its signer is not known here");
  if (!signatureValid) return refuse("its signature does not verify");
  if (offered.sequence > held.bundle.sequence) return ok("newer");
  if (offered.sequence === held.bundle.sequence && bundleStatement(offered) === bundleStatement(held.bundle)) {
    return ok("unchanged");
  }
  return refuse(
    `its sequence ${offered.sequence} does not follow ${held.bundle.sequence}: the hub's data went back in time`,
  );
}
