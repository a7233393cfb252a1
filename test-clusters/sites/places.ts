// Where the hub and the sites of a run listen: addresses of this machine's loopback that no other run has. A run takes a
// slot; everything else follows from its number. Pure.

/** Runs that fit beside each other, and sites in each. */
export const SLOTS = 10;
export const SITES = 4;

export interface SitePlace {
  readonly name: string;
  readonly address: string;
  readonly adsPort: number;
  readonly adminPort: number;
  readonly gatewayPort: number;
  /** For workloads and services. */
  readonly loopbackRange: string;
}

export interface RunPlaces {
  readonly hubAddress: string;
  readonly hubPort: number;
  readonly hubHttpPort: number;
  /** Held by the run's owner while it lives: whoever can listen there has the slot. */
  readonly guard: { readonly address: string; readonly port: number };
  readonly sites: readonly SitePlace[];
}

const RANGE_BITS = 14;
/** Second byte of the first range; what is below is left to people, the default of `isthmus site` (127.64.0.0/12) too. */
const FIRST_RANGE = 96;
const RANGE_STEP = 2 ** (16 - RANGE_BITS);

export function planSites(slot: number, names: readonly string[]): RunPlaces {
  if (slot < 0 || slot >= SLOTS) throw new Error(`there is no slot ${slot}`);
  if (names.length > SITES) throw new Error(`a run has at most ${SITES} sites`);
  const at = (host: number) => `127.0.${slot + 1}.${host}`;
  return {
    hubAddress: at(100),
    hubPort: 8443,
    hubHttpPort: 8081,
    guard: { address: at(254), port: 15999 },
    sites: names.map((name, index) => ({
      name,
      address: at(index + 1),
      adsPort: 15128,
      adminPort: 15014,
      gatewayPort: 15443,
      loopbackRange: `127.${FIRST_RANGE + (slot * SITES + index) * RANGE_STEP}.0.0/${RANGE_BITS}`,
    })),
  };
}

/** Every socket that must be free for a slot to be. */
export function socketsOf(places: RunPlaces): readonly { readonly address: string; readonly port: number }[] {
  const { hubAddress: address, hubPort, hubHttpPort, sites } = places;
  return [
    { address, port: hubPort },
    { address, port: hubHttpPort },
    ...sites.flatMap((site) =>
      [site.adsPort, site.adminPort, site.gatewayPort].map((port) => ({ address: site.address, port })),
    ),
  ];
}
