// The fleet's roots: made by `isthmus init` and by rotations, opened at every start. Where a root's key is and how it signs is
// its source's affair; this file knows the entry in fleet.json and the certificate. Called by authority.ts.
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import type { FleetDomain } from "../../shared/ids.ts";
import type { CertificateFacts } from "../../shared/pki/certificate.ts";
import { certificateFingerprint } from "../../shared/pki/fingerprint.ts";
import { certificatePem, parseChainPem } from "../../shared/pki/pem.ts";
import { fileExists, readSecretFile, writeSecretFile } from "../../shared/pki/secret-file.ts";
import { parseCertificate } from "../../shared/pki/x509.ts";
import type { CertificateIssuer } from "./certificate-issuer.ts";
import type { FleetFile, RootEntry, RootKind } from "./fleet-file.ts";

export interface Root {
  readonly id: string;
  readonly state: RootEntry["state"];
  readonly der: Uint8Array;
  readonly facts: CertificateFacts;
  /** Only of a root that signs: the others' keys need not be here any more. */
  readonly issuer: CertificateIssuer | undefined;
}

export interface NewRoot {
  readonly id: string;
  readonly fleet: FleetDomain;
  readonly nowMs: number;
  readonly ttlMs: number;
}

/** Where roots of one kind come from. One for each word of `isthmus rotate root --to`. */
export interface RootSource {
  /**
   * Makes what a new root needs; asking again with the same id finishes what was begun. The certificate (see
   * `writeRootCertificate`) may come later: somebody has to sign it elsewhere.
   */
  prepare(root: NewRoot): Promise<void>;
  /** How it signs. Throws a UserError when it cannot: a key that is missing, a token that is locked. */
  issuer(id: string, facts: CertificateFacts): Promise<CertificateIssuer>;
  /** The root is of the past, or was never used: its key goes for good. */
  remove(id: string): Promise<void>;
}

const pathOf = (dataDir: string, id: string) => join(dataDir, "roots", `${id}.pem`);

export async function writeRootCertificate(dataDir: string, id: string, der: Uint8Array): Promise<void> {
  await writeSecretFile(pathOf(dataDir, id), certificatePem(der), 0o600);
}

export type RootSources = Readonly<Record<RootKind, RootSource>>;

/** All that are made. A prepared root that waits for somebody to sign it is left out. */
export async function openListedRoots(
  dataDir: string,
  fleet: FleetFile,
  sources: RootSources,
): Promise<readonly Root[]> {
  const made = await Promise.all(
    fleet.roots.map(async (entry) => {
      const waits = entry.state === "prepared" && !(await fileExists(pathOf(dataDir, entry.id)));
      return waits ? [] : [await openRoot(dataDir, entry, sources[entry.kind ?? "self"])];
    }),
  );
  return made.flat();
}

async function openRoot(dataDir: string, entry: RootEntry, source: RootSource): Promise<Root> {
  const path = pathOf(dataDir, entry.id);
  const chain = parseChainPem(await readSecretFile(path));
  const der = chain.ok ? chain.value[0] : undefined;
  const facts = der === undefined ? undefined : parseCertificate(der);
  if (der === undefined || !facts?.ok || !facts.value.ca) {
    throw new UserError("ISTHMUS_ROOT_FILE", `${path} holds no root certificate`, { hint: "restore it from a backup" });
  }
  const issuer = entry.state === "signing" ? await source.issuer(entry.id, facts.value) : undefined;
  return { id: entry.id, state: entry.state, der, facts: facts.value, issuer };
}

export function signingOf(roots: readonly Root[]): Root {
  const signing = roots.find(({ state }) => state === "signing");
  if (signing === undefined) throw new Error("fleet.json names no signing root");
  return signing;
}

/** How everybody names a root who has only its certificate: SHA-256 (hex). */
export function fingerprintOf({ der }: Root): string {
  return certificateFingerprint(der);
}
