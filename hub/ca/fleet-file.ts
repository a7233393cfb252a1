// `<data>/fleet.json`: what the hub's authority is made of. Written by `isthmus init` (last, so that its presence means
// "complete") and by later steps of trust. Shaped for several roots: rotation adds entries, it does not change the form.
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import { parseFleetDomain, type FleetDomain } from "../../shared/ids.ts";
import type { ServerNames } from "../../shared/pki/template.ts";
import type { KeyPlace } from "./key-store.ts";
import { fileExists, readSecretFile, writeSecretFile } from "../../shared/pki/secret-file.ts";
import type { FleetTrust, RootOfFleet } from "../rotation/rotation.ts";
import type { ForeignFleet } from "../federation/foreign-fleet.ts";

export interface RootEntry extends RootOfFleet {
  /** Where it came from; absent: `isthmus init` or a rotation made it, and its key is in the hub's key store. */
  readonly kind?: RootKind;
}

/** The words of `isthmus rotate root --to`. */
export const rootKinds = ["self", "offline", "vault", "cert-manager"] as const;
export type RootKind = (typeof rootKinds)[number];

/** `rotation` is the journal of the rotation that runs: written in one piece with the roots and the bundle that it brought about. */
export interface FleetFile extends FleetTrust<RootEntry>, KeyPlace {
  readonly version: 1;
  readonly fleetDomain: FleetDomain;
  readonly createdAtMs: number;
  readonly bundle: {
    readonly sequence: number;
    readonly signer: string;
    readonly revokedTrustDomains: readonly string[];
  };
  readonly server: ServerNames & { readonly keyId: string };
  /** Members whose cluster CA an operator wants renewed, until it is. */
  readonly reissue?: readonly string[];
  /** Other fleets that this one verifies. Absent: none. */
  readonly federation?: readonly ForeignFleet[];
}

const pathOf = (dataDir: string) => join(dataDir, "fleet.json");

/** What fleet.json will be once somebody has signed the hub's request (new-fleet.ts). */
export const pendingFleetPath = (dataDir: string): string => join(dataDir, "fleet.pending.json");

export function fleetFileExists(dataDir: string): Promise<boolean> {
  return fileExists(pathOf(dataDir));
}

export async function writeFleetFile(dataDir: string, fleet: FleetFile): Promise<void> {
  await writeSecretFile(pathOf(dataDir), `${JSON.stringify(fleet, null, 2)}\n`, 0o600);
}

export async function readFleetFile(dataDir: string): Promise<FleetFile> {
  const path = pathOf(dataDir);
  if (!(await fileExists(path))) {
    if (await fileExists(pendingFleetPath(dataDir))) throw waitsForRoot(dataDir);
    throw new UserError("ISTHMUS_NOT_INITIALISED", `no fleet in ${dataDir}`, { hint: "run: isthmus init" });
  }
  const text = await readSecretFile(path);
  try {
    const fleet = JSON.parse(text) as FleetFile;
    const domain = parseFleetDomain(fleet.fleetDomain);
    // a cast is no check: these two carry everything else, and a file of another version lacks them
    if (domain.ok && (fleet.version as number) === 1 && fleet.roots.some(({ state }) => state === "signing"))
      return fleet;
  } catch (error) {
    throw unreadable(path, error);
  }
  throw unreadable(path, undefined);
}

function waitsForRoot(dataDir: string): UserError {
  return new UserError("ISTHMUS_ROOT_AWAITED", `the fleet in ${dataDir} waits for its root`, {
    hint: "sign its request (isthmus root request), then: isthmus root import CHAIN.pem",
  });
}

function unreadable(path: string, cause: unknown): UserError {
  return new UserError("ISTHMUS_FLEET_FILE", `${path} is not a fleet file of this version`, {
    ...(cause === undefined ? {} : { cause }),
    hint: "restore it from a backup of the hub's data folder",
  });
}
