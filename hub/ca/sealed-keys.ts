// `<data>/keys`: private keys in files, sealed with a key-encryption key of any kind. Called by the two key stores.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import { generateKeyPem } from "../../shared/pki/key.ts";
import { seal, unseal, type KeyEncryptionKey } from "../../shared/pki/sealing.ts";
import { readSecretFile, writeSecretFile } from "../../shared/pki/secret-file.ts";
import type { KeyStore, KeyStoreOptions } from "./key-store.ts";

/** `kekName` is how a person finds the KEK. */
export function sealedKeys(
  { dataDir, fleetDomain }: KeyStoreOptions,
  kek: KeyEncryptionKey,
  kekName: string,
): Pick<KeyStore, "create" | "open" | "remove"> {
  const fileOf = (keyId: string, purpose: string) => join(dataDir, "keys", `${purpose}-${keyId}.json`);
  return {
    create: async (keyId, purpose) => {
      const keyPem = generateKeyPem();
      const sealed = await seal(Buffer.from(keyPem), kek, { fleetDomain, keyId, purpose });
      await writeSecretFile(fileOf(keyId, purpose), sealed, 0o400);
      return keyPem;
    },
    open: async (keyId, purpose) => {
      const path = fileOf(keyId, purpose);
      const opened = await unseal(await readSecretFile(path), kek, { fleetDomain, keyId, purpose });
      if (opened.ok) return opened.value.toString("utf8");
      throw new UserError("ISTHMUS_KEY_SEAL", `${path}: ${opened.error[0]?.message ?? "cannot be opened"}`, {
        hint: `restore ${path} and ${kekName} from the same backup`,
      });
    },
    remove: (keyId, purpose) => rm(fileOf(keyId, purpose), { force: true }),
  };
}
