// Private keys of the hub: where they are at rest and how they sign. Two kinds of store behind one interface: sealed files in
// `<data>/keys` (key-encryption key in a file of its own), and a PKCS#11 token. Called by authority.ts and the root sources.
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import { keyProviderFromPem, type KeyProvider } from "../../shared/pki/key.ts";
import { kekBytes, localKek, type KeyEncryptionKey } from "../../shared/pki/sealing.ts";
import { fileExists, readSecretFile, writeSecretFile } from "../../shared/pki/secret-file.ts";
import { sealedKeys } from "./sealed-keys.ts";

export interface KeyStore {
  /** Makes a P-256 key, stores it sealed and returns its PEM: for TLS, which needs a key in memory. */
  create(keyId: string, purpose: string): Promise<string>;
  open(keyId: string, purpose: string): Promise<string>;
  /** Makes a P-256 key that only signs: where there is a token, it never leaves it. */
  createSigner(keyId: string, purpose: string): Promise<KeyProvider>;
  openSigner(keyId: string, purpose: string): Promise<KeyProvider>;
  /** For good, whichever kind it was; asking again is no mistake. */
  remove(keyId: string, purpose: string): Promise<void>;
}

/** What `isthmus init` was told, as fleet.json keeps it. Neither: `<data>/kek`, wherever the data folder is mounted. */
export interface KeyPlace {
  /** 32 bytes, base64url, mode 0400. Best on another disk or mount than the data folder. */
  readonly kekFile?: string;
  /** An RFC 7512 URI (pkcs11-uri.ts): key-encryption key and signing keys are in this token. */
  readonly keys?: string;
}

export interface KeyStoreOptions {
  readonly dataDir: string;
  readonly fleetDomain: string;
  readonly place: KeyPlace;
}

export async function openKeyStore(options: KeyStoreOptions): Promise<KeyStore> {
  if (options.place.keys !== undefined) {
    // loaded here, because a hub without a token must not need the native module
    const { openPkcs11KeyStore } = await import("./pkcs11-key-store.ts");
    return openPkcs11KeyStore(options, options.place.keys);
  }
  const kekFile = kekFileOf(options);
  const sealed = sealedKeys(options, await readKek(kekFile), kekFile);
  return {
    ...sealed,
    createSigner: async (keyId, purpose) => keyProviderFromPem(await sealed.create(keyId, purpose)),
    openSigner: async (keyId, purpose) => keyProviderFromPem(await sealed.open(keyId, purpose)),
  };
}

/** Makes the key-encryption key of a new fleet, and opens the store. */
export async function createKeyStore(options: KeyStoreOptions): Promise<KeyStore> {
  if (options.place.keys !== undefined) {
    const { createPkcs11Kek } = await import("./pkcs11-key-store.ts");
    await createPkcs11Kek(options, options.place.keys);
  } else {
    await createKekFile(kekFileOf(options));
  }
  return openKeyStore(options);
}

/** Safe against a copied Redis or a lost backup of one folder only, when nobody says otherwise. */
function kekFileOf({ dataDir, place }: KeyStoreOptions): string {
  return place.kekFile ?? join(dataDir, "kek");
}

async function createKekFile(path: string): Promise<void> {
  if (!(await fileExists(path))) await writeSecretFile(path, `${randomBytes(kekBytes).toString("base64url")}\n`, 0o400);
}

async function readKek(path: string): Promise<KeyEncryptionKey> {
  const kek = Buffer.from((await readSecretFile(path)).trim(), "base64url");
  if (kek.length === kekBytes) return localKek(kek);
  throw new UserError("ISTHMUS_KEK", `${path} is not a key-encryption key of ${kekBytes} bytes in base64url`, {
    hint: "restore the file that `isthmus init` made; without it the fleet's keys cannot be opened",
  });
}
