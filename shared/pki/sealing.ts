// The envelope of a private key at rest: AES-256-GCM under a data key of its own, which is wrapped by the key-encryption
// key (KEK). The additional data ties a sealed key to its fleet, id and purpose, so that two files cannot be swapped.
// Called by hub/ca's key stores, which know where the KEK is: in a file, or in a token that never gives it away.
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { ok, rejected, type Result } from "../result.ts";

export const kekBytes = 32;
export const nonceBytes = 12;
export const tagBytes = 16;

/** AES-256-GCM by a key that may be elsewhere. */
export interface KeyEncryptionKey {
  /** Ciphertext and tag. */
  encrypt(plain: Uint8Array, nonce: Uint8Array, additional: Uint8Array): Promise<Uint8Array>;
  /** Rejects when the tag does not fit. */
  decrypt(sealed: Uint8Array, nonce: Uint8Array, additional: Uint8Array): Promise<Uint8Array>;
}

/** What the sealed text is, authenticated with it. */
export interface SealContext {
  readonly fleetDomain: string;
  readonly keyId: string;
  readonly purpose: string;
}

interface Envelope {
  readonly v: 1;
  readonly wrappedKey: string;
  readonly sealed: string;
}

/** A KEK that is in memory. */
export function localKek(key: Uint8Array): KeyEncryptionKey {
  return {
    encrypt: (plain, nonce, additional) => {
      const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(additional);
      return Promise.resolve(Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]));
    },
    decrypt: async (sealed, nonce, additional) => {
      const end = sealed.length - tagBytes;
      const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: tagBytes });
      decipher.setAAD(additional).setAuthTag(sealed.subarray(end));
      return Promise.resolve(Buffer.concat([decipher.update(sealed.subarray(0, end)), decipher.final()]));
    },
  };
}

/** JSON text; every call uses a new data key and new nonces, so none is ever used twice. */
export async function seal(plain: Uint8Array, kek: KeyEncryptionKey, context: SealContext): Promise<string> {
  const dataKey = randomBytes(kekBytes);
  const envelope: Envelope = {
    v: 1,
    wrappedKey: await encrypt(dataKey, kek, aad(context, "wrap")),
    sealed: await encrypt(plain, localKek(dataKey), aad(context, "data")),
  };
  dataKey.fill(0);
  return `${JSON.stringify(envelope)}\n`;
}

export async function unseal(text: string, kek: KeyEncryptionKey, context: SealContext): Promise<Result<Buffer>> {
  try {
    const { wrappedKey, sealed, v } = JSON.parse(text) as Partial<Record<string, unknown>>;
    if (v !== 1 || typeof wrappedKey !== "string" || typeof sealed !== "string") return damaged("it is no envelope");
    const dataKey = await decrypt(wrappedKey, kek, aad(context, "wrap"));
    return ok(await decrypt(sealed, localKek(dataKey), aad(context, "data")));
  } catch {
    return damaged("it was changed, belongs elsewhere, or the key-encryption key is another one");
  }
}

function damaged(reason: string): Result<Buffer> {
  return rejected("ISTHMUS_KEY_SEAL", `the sealed key cannot be opened: ${reason}`);
}

function aad({ fleetDomain, keyId, purpose }: SealContext, layer: string): Buffer {
  return Buffer.from(JSON.stringify(["isthmus seal v1", fleetDomain, keyId, purpose, layer]));
}

/** nonce | ciphertext | tag, base64. */
async function encrypt(plain: Uint8Array, key: KeyEncryptionKey, additional: Buffer): Promise<string> {
  const nonce = randomBytes(nonceBytes);
  return Buffer.concat([nonce, await key.encrypt(plain, nonce, additional)]).toString("base64");
}

async function decrypt(text: string, key: KeyEncryptionKey, additional: Buffer): Promise<Buffer> {
  const bytes = Buffer.from(text, "base64");
  return Buffer.from(await key.decrypt(bytes.subarray(nonceBytes), bytes.subarray(0, nonceBytes), additional));
}
