// Private keys of the hub at rest: sealed files in `<data>/keys`, opened with a key-encryption key from a file of its own.
// Called by authority.ts, which sees KeyProviders. A PKCS#11 store would take this file's place behind the same interface.
import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import { generateKeyPem } from "../../shared/pki/key.ts";
import { kekBytes, seal, unseal } from "../../shared/pki/sealing.ts";
import { fileExists, readSecretFile, writeSecretFile } from "../../shared/pki/secret-file.ts";

export interface KeyStore {
  /** Makes a P-256 key, stores it sealed and returns its PEM. */
  create(keyId: string, purpose: string): Promise<string>;
  open(keyId: string, purpose: string): Promise<string>;
  /** For good; asking again is no mistake. */
  remove(keyId: string, purpose: string): Promise<void>;
}

export interface KeyStoreOptions {
  readonly dataDir: string;
  readonly fleetDomain: string;
  /** 32 bytes, base64url, mode 0400. Best on another disk or mount than the data folder. */
  readonly kekFile: string;
}

/** Where the key-encryption key is when nobody says otherwise: safe against a copied Redis or a lost backup of one folder only. */
export function defaultKekFile(dataDir: string): string {
  return join(dataDir, "kek");
}

export async function createKekFile(path: string): Promise<void> {
  if (!(await fileExists(path))) await writeSecretFile(path, `${randomBytes(kekBytes).toString("base64url")}\n`, 0o400);
}

export async function openKeyStore({ dataDir, fleetDomain, kekFile }: KeyStoreOptions): Promise<KeyStore> {
  const kek = Buffer.from((await readSecretFile(kekFile)).trim(), "base64url");
  if (kek.length !== kekBytes) {
    throw new UserError("ISTHMUS_KEK", `${kekFile} is not a key-encryption key of ${kekBytes} bytes in base64url`, {
      hint: "restore the file that `isthmus init` made; without it the fleet's keys cannot be opened",
    });
  }
  const fileOf = (keyId: string, purpose: string) => join(dataDir, "keys", `${purpose}-${keyId}.json`);
  return {
    create: async (keyId, purpose) => {
      const keyPem = generateKeyPem();
      const sealed = seal(Buffer.from(keyPem), kek, { fleetDomain, keyId, purpose });
      await writeSecretFile(fileOf(keyId, purpose), sealed, 0o400);
      return keyPem;
    },
    open: async (keyId, purpose) => {
      const path = fileOf(keyId, purpose);
      const opened = unseal(await readSecretFile(path), kek, { fleetDomain, keyId, purpose });
      if (opened.ok) return opened.value.toString("utf8");
      throw new UserError("ISTHMUS_KEY_SEAL", `${path}: ${opened.error[0]?.message ?? "cannot be opened"}`, {
        hint: `restore ${path} and ${kekFile} from the same backup`,
      });
    },
    remove: (keyId, purpose) => rm(fileOf(keyId, purpose), { force: true }),
  };
}
