// Keys in a PKCS#11 token: what signs for the fleet is made there and never leaves it; what TLS needs in memory is a sealed
// file whose key-encryption key is in the token. So a stolen data folder opens nothing. Loaded by key-store.ts on demand.
import { UserError } from "../../shared/errors.ts";
import type { KeyStore, KeyStoreOptions } from "./key-store.ts";
import { openPkcs11Token, type Pkcs11Token } from "./pkcs11-token.ts";
import { parsePkcs11Uri } from "./pkcs11-uri.ts";
import { sealedKeys } from "./sealed-keys.ts";

export async function openPkcs11KeyStore(options: KeyStoreOptions, uri: string): Promise<KeyStore> {
  const { token, tokenLabel } = await tokenAt(uri);
  const labelOf = labels(options);
  const sealed = sealedKeys(options, await token.openKek(labelOf("", "kek")), `the token ${tokenLabel}`);
  return {
    ...sealed,
    createSigner: (keyId, purpose) => token.createSigner(labelOf(keyId, purpose)),
    openSigner: (keyId, purpose) => token.openSigner(labelOf(keyId, purpose)),
    remove: async (keyId, purpose) => {
      await token.removeSigner(labelOf(keyId, purpose));
      await sealed.remove(keyId, purpose);
    },
  };
}

export async function createPkcs11Kek(options: KeyStoreOptions, uri: string): Promise<void> {
  const { token } = await tokenAt(uri);
  await token.createKek(labels(options)("", "kek"));
}

async function tokenAt(uri: string): Promise<{ readonly token: Pkcs11Token; readonly tokenLabel: string }> {
  const place = parsePkcs11Uri(uri);
  if (place.ok) return { token: await openPkcs11Token(place.value), tokenLabel: place.value.tokenLabel };
  throw new UserError("ISTHMUS_PKCS11_URI", `${uri}: ${place.error[0]?.message ?? "not a PKCS#11 URI"}`, {
    hint: "see docs/trust.md, keys in a token",
  });
}

/** One token may serve several fleets. */
function labels({ fleetDomain }: KeyStoreOptions): (keyId: string, purpose: string) => string {
  return (keyId, purpose) => ["isthmus", fleetDomain, purpose, ...(keyId === "" ? [] : [keyId])].join(" ");
}
