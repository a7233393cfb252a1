// The hub's own TLS certificate. Its key stays for the life of the fleet, because join tokens carry its pin; the certificate
// is renewed from the signing root at half of its life and whenever the configured names change. Called by authority.ts.
import { join } from "node:path";
import type { FleetDomain } from "../../shared/ids.ts";
import type { CertificateFacts } from "../../shared/pki/certificate.ts";
import { keyProviderFromPem, spkiPin } from "../../shared/pki/key.ts";
import { chainPem, parseChainPem } from "../../shared/pki/pem.ts";
import { hubServerTemplate, renewalDueMs, type ServerNames } from "../../shared/pki/template.ts";
import { parseCertificate } from "../../shared/pki/x509.ts";
import { trustedRoots } from "../rotation/rotation.ts";
import { signingOf, type Root } from "./root.ts";
import { fileExists, readSecretFile, writeSecretFile } from "../../shared/pki/secret-file.ts";

/** Long enough to survive a hub switched off over holidays; agents go by the roots, so its length weakens nothing. */
export const defaultServerTtlMs = 90 * 24 * 3_600_000;

export interface ServerIdentity {
  readonly keyPem: string;
  /** Leaf first, without the root. */
  readonly chainPem: string;
  /** `sha256/<base64url>` of the public key. */
  readonly pin: string;
}

export interface ServerCertificateDeps {
  readonly dataDir: string;
  readonly fleet: FleetDomain;
  readonly names: ServerNames;
  readonly keyPem: string;
  readonly ttlMs: number;
}

/**
 * The certificate on disk if it is good beyond half of its life, else a new one. One under an older root stays as long as that
 * root is trusted: a member that was away and knows only that one can still come and learn of the new root.
 */
export async function currentServerIdentity(
  deps: ServerCertificateDeps,
  roots: readonly Root[],
  nowMs: number,
): Promise<ServerIdentity> {
  const path = join(deps.dataDir, "server.pem");
  const pin = spkiPin(keyProviderFromPem(deps.keyPem).spkiDer);
  if (await fileExists(path)) {
    const stored = await readSecretFile(path);
    if (isCurrent(stored, { deps, roots: trustedRoots(roots), nowMs, pin }))
      return { keyPem: deps.keyPem, chainPem: stored, pin };
  }
  const issued = chainPem(await issueServer(deps, signingOf(roots), nowMs));
  await writeSecretFile(path, issued, 0o600);
  return { keyPem: deps.keyPem, chainPem: issued, pin };
}

async function issueServer(deps: ServerCertificateDeps, root: Root, nowMs: number): Promise<readonly Uint8Array[]> {
  if (root.issuer === undefined) throw new Error(`root ${root.id} does not sign here`);
  const { spkiDer } = keyProviderFromPem(deps.keyPem);
  const issued = await root.issuer.issue({
    spkiDer,
    nowMs,
    ttlMs: deps.ttlMs,
    template: (validity) => hubServerTemplate(deps.fleet, deps.names, validity),
  });
  if (!issued.ok) throw new Error(`the hub's certificate was not issued: ${JSON.stringify(issued.error)}`);
  return issued.value;
}

interface Expectation {
  readonly deps: ServerCertificateDeps;
  readonly roots: readonly Root[];
  readonly nowMs: number;
  readonly pin: string;
}

function isCurrent(pem: string, { deps, roots, nowMs, pin }: Expectation): boolean {
  const chain = parseChainPem(pem);
  const facts = chain.ok ? chain.value.map((der) => parseCertificate(der)) : [];
  const [leaf, last] = [facts[0], facts.at(-1)];
  if (leaf?.ok !== true || last?.ok !== true) return false; // damaged: a new one costs nothing
  return (
    spkiPin(leaf.value.publicKey.spkiDer) === pin &&
    roots.some(({ facts }) => facts.subjectKeyIdHex === last.value.authorityKeyIdHex) &&
    sameNames(leaf.value, deps.names) &&
    nowMs < renewalDueMs(leaf.value, 0.5)
  );
}

function sameNames(leaf: CertificateFacts, names: ServerNames): boolean {
  const listed = [...leaf.names.dnsNames, ...leaf.names.ipAddresses];
  return JSON.stringify(listed) === JSON.stringify([...names.dnsNames, ...names.ipAddresses]);
}
