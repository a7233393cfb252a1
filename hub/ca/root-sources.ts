// The four places a root may come from. Where the upstream issuers are is read from issuers.json when one is asked, so that a
// person can mend the file while the hub runs. Called by authority.ts and new-fleet.ts.
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import type { FleetDomain } from "../../shared/ids.ts";
import type { SigningPool } from "../../shared/pki/signing-pool.ts";
import { certManagerSigner } from "./cert-manager-signer.ts";
import type { RootKind } from "./fleet-file.ts";
import { readIssuersFile, type IssuersFile } from "./issuers-file.ts";
import { issuingCas, type IssuingCaSource, type UpstreamSigner } from "./issuing-ca.ts";
import type { KeyStore } from "./key-store.ts";
import type { RootSource } from "./root.ts";
import { selfMadeRoots } from "./self-made-root.ts";
import { vaultSigner } from "./vault-signer.ts";

export interface RootSourcesDeps {
  readonly dataDir: string;
  readonly keys: KeyStore;
  readonly fleetDomain: FleetDomain;
  readonly clock: Clock;
  readonly pool: SigningPool;
  /** See ChainExpectation. */
  readonly leastLifeMs: number;
}

export type FleetRootSources = Readonly<Record<RootKind, RootSource>> & { readonly offline: IssuingCaSource };

export function rootSources(deps: RootSourcesDeps): FleetRootSources {
  const { dataDir, keys, clock, pool } = deps;
  const below = (upstream: UpstreamSigner | undefined) => issuingCas({ ...deps, now: () => clock.now(), upstream });
  const named = <Name extends keyof IssuersFile>(
    name: Name,
    signer: (place: NonNullable<IssuersFile[Name]>) => UpstreamSigner,
  ): UpstreamSigner => ({
    sign: async (requestPem) => {
      const place = (await readIssuersFile(dataDir))[name];
      if (place !== undefined) return signer(place).sign(requestPem);
      throw new UserError("ISTHMUS_ISSUERS_FILE", `issuers.json in ${dataDir} names no ${name}`, {
        hint: "docs/issuers.md shows one; mode 0600",
      });
    },
  });
  return {
    self: selfMadeRoots(dataDir, keys, pool),
    offline: below(undefined),
    vault: below(named("vault", vaultSigner)),
    "cert-manager": below(
      named("certManager", (place) => certManagerSigner({ place, clock, environment: process.env })),
    ),
  };
}
