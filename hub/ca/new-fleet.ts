// How a fleet begins: keys, a root, fleet.json last, so that its presence means "complete". Below an offline root it begins in
// two steps: `fleet.pending.json` waits until somebody has signed the hub's request. Called by authority.ts and the CLI.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import type { FleetDomain } from "../../shared/ids.ts";
import { fileExists, readSecretFile, writeSecretFile } from "../../shared/pki/secret-file.ts";
import { createSigningPool } from "../../shared/pki/signing-pool.ts";
import type { ServerNames } from "../../shared/pki/template.ts";
import { fleetFileExists, pendingFleetPath, writeFleetFile, type FleetFile, type RootKind } from "./fleet-file.ts";
import { createKeyStore, openKeyStore, type KeyPlace, type KeyStore } from "./key-store.ts";
import { fewestClusterCaLives } from "./root-custody.ts";
import { rootSources, type FleetRootSources } from "./root-sources.ts";

const dayMs = 24 * 3_600_000;
export const defaultTtlMs = 7 * dayMs;
export const defaultRootTtlMs = 5 * 365 * dayMs;

export interface InitOptions {
  readonly fleetDomain: FleetDomain;
  /** DNS names and IP addresses under which people's tools reach the hub. */
  readonly serverNames: ServerNames;
  readonly clock: Clock;
  readonly rootTtlMs?: number;
  /** Where the fleet's keys shall be; a key-encryption key that does not exist is made. */
  readonly place?: KeyPlace;
  readonly root?: RootKind;
}

/** A complete fleet. Of a kind of root that answers at once. */
export async function beginFleet(dataDir: string, options: InitOptions): Promise<void> {
  await writeFleetFile(dataDir, (await makeFleet(dataDir, options)).fleet);
}

/** A fleet that waits for its root. The file with the request that somebody has to sign. */
export async function beginOfflineFleet(dataDir: string, options: InitOptions): Promise<string> {
  const { fleet, id, sources } = await makeFleet(dataDir, { ...options, root: "offline" });
  await writeSecretFile(pendingFleetPath(dataDir), `${JSON.stringify(fleet, null, 2)}\n`, 0o600);
  return sources.offline.requestFile(id);
}

export async function isPending(dataDir: string): Promise<boolean> {
  return (await fileExists(pendingFleetPath(dataDir))) && !(await fleetFileExists(dataDir));
}

/** `chainPem`: issuing CA first, root last. Throws UserError ISTHMUS_ISSUING_CHAIN, and the fleet goes on waiting. */
export async function completeOfflineFleet(dataDir: string, pem: string, clock: Clock): Promise<FleetFile> {
  const fleet = JSON.parse(await readSecretFile(pendingFleetPath(dataDir))) as FleetFile;
  const { fleetDomain } = fleet;
  const keys = await openKeyStore({ dataDir, fleetDomain, place: fleet });
  const [root] = fleet.roots;
  if (root === undefined) throw new Error("fleet.pending.json names no root");
  await newSources({ dataDir, keys, fleetDomain, clock }).offline.importChain(root.id, pem);
  await writeFleetFile(dataDir, fleet);
  await rm(pendingFleetPath(dataDir), { force: true });
  return fleet;
}

/** The request of a fleet that waits, or of one that has an offline root: to sign it anew before its issuing CA ends. */
export function requestFileOf(dataDir: string, fleet: FleetFile): string | undefined {
  const offline = fleet.roots.filter(({ kind }) => kind === "offline");
  const wanted = offline.find(({ state }) => state === "prepared") ?? offline[0];
  return wanted === undefined ? undefined : join(dataDir, "roots", `${wanted.id}.csr`);
}

interface MadeFleet {
  readonly fleet: FleetFile;
  readonly id: string;
  readonly sources: FleetRootSources;
}

async function makeFleet(dataDir: string, options: InitOptions): Promise<MadeFleet> {
  const { fleetDomain, serverNames, clock, place = {}, root: kind = "self" } = options;
  if (await fleetFileExists(dataDir)) {
    throw new UserError("ISTHMUS_FLEET_EXISTS", `${dataDir} already holds a fleet`, {
      hint: "start it with: isthmus hub; or choose another data folder",
    });
  }
  const keys = await createKeyStore({ dataDir, fleetDomain, place });
  const nowMs = clock.now();
  const id = String(nowMs);
  const sources = newSources({ dataDir, keys, fleetDomain, clock });
  await sources[kind].prepare({ id, fleet: fleetDomain, nowMs, ttlMs: options.rootTtlMs ?? defaultRootTtlMs });
  await keys.create(id, "server");
  await keys.createSigner(id, "bundle");
  const fleet: FleetFile = {
    version: 1,
    fleetDomain,
    createdAtMs: nowMs,
    roots: [{ id, state: "signing", ...(kind === "self" ? {} : { kind }) }],
    bundle: { sequence: 1, signer: id, revokedTrustDomains: [] },
    server: { ...serverNames, keyId: id },
    ...place,
  };
  return { fleet, id, sources };
}

interface NewSources {
  readonly dataDir: string;
  readonly keys: KeyStore;
  readonly fleetDomain: FleetDomain;
  readonly clock: Clock;
}

function newSources(deps: NewSources): FleetRootSources {
  return rootSources({ ...deps, pool: createSigningPool(), leastLifeMs: fewestClusterCaLives * defaultTtlMs });
}
