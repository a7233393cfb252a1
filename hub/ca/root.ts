// The fleet's roots: made once by `isthmus init`, opened at every start. The certificate is a public file, the key sealed.
// Called by authority.ts.
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import type { FleetDomain } from "../../shared/ids.ts";
import type { CertificateFacts } from "../../shared/pki/certificate.ts";
import { hexOf } from "../../shared/pki/hex.ts";
import { issueCertificate } from "../../shared/pki/issue.ts";
import { keyProviderFromPem, type KeyProvider } from "../../shared/pki/key.ts";
import { certificatePem, parseChainPem } from "../../shared/pki/pem.ts";
import { rootTemplate, type Validity } from "../../shared/pki/template.ts";
import { keyIdOf } from "../../shared/pki/x509-builder.ts";
import { parseCertificate } from "../../shared/pki/x509.ts";
import type { RootEntry } from "./fleet-file.ts";
import type { KeyStore } from "./key-store.ts";
import { readSecretFile, writeSecretFile } from "../../shared/pki/secret-file.ts";

const purpose = "root";

export interface Root {
  readonly id: string;
  readonly state: RootEntry["state"];
  readonly der: Uint8Array;
  readonly facts: CertificateFacts;
  /** Only of a root that signs: the others' keys need not be here any more. */
  readonly key: KeyProvider | undefined;
}

const pathOf = (dataDir: string, id: string) => join(dataDir, "roots", `${id}.pem`);

export interface NewRoot {
  readonly dataDir: string;
  readonly id: string;
  readonly fleet: FleetDomain;
  readonly validity: Validity;
}

export async function createRoot({ dataDir, id, fleet, validity }: NewRoot, keys: KeyStore): Promise<void> {
  const key = keyProviderFromPem(await keys.create(id, purpose));
  const template = rootTemplate(fleet, hexOf(keyIdOf(key.spkiDer)).slice(0, 8), validity);
  const issued = await issueCertificate(template, key.spkiDer, { key, certificate: undefined });
  if (!issued.ok) throw new Error(`the new root does not match its profile: ${JSON.stringify(issued.error)}`);
  await writeSecretFile(pathOf(dataDir, id), certificatePem(issued.value), 0o600);
}

export async function openRoot(dataDir: string, entry: RootEntry, keys: KeyStore): Promise<Root> {
  const path = pathOf(dataDir, entry.id);
  const chain = parseChainPem(await readSecretFile(path));
  const der = chain.ok ? chain.value[0] : undefined;
  const facts = der === undefined ? undefined : parseCertificate(der);
  if (der === undefined || !facts?.ok || !facts.value.ca) {
    throw new UserError("ISTHMUS_ROOT_FILE", `${path} holds no root certificate`, { hint: "restore it from a backup" });
  }
  if (entry.state !== "signing") return { ...entry, der, facts: facts.value, key: undefined };
  const key = keyProviderFromPem(await keys.open(entry.id, purpose));
  if (hexOf(key.spkiDer) !== hexOf(facts.value.publicKey.spkiDer)) {
    throw new UserError("ISTHMUS_ROOT_FILE", `${path} does not belong to its key`, {
      hint: "restore both from one backup",
    });
  }
  return { ...entry, der, facts: facts.value, key };
}
