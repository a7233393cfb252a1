// The envelope of a private key at rest: AES-256-GCM under a data key of its own, which is wrapped by the key-encryption
// key (KEK). The additional data ties a sealed key to its fleet, id and purpose, so that two files cannot be swapped.
// Called by hub/ca/key-store.ts; where the KEK comes from is decided there.
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { ok, rejected, type Result } from "../result.ts";

export const kekBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;

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

/** JSON text; every call uses a new data key and new nonces, so none is ever used twice. */
export function seal(plain: Uint8Array, kek: Uint8Array, context: SealContext): string {
  const dataKey = randomBytes(kekBytes);
  const envelope: Envelope = {
    v: 1,
    wrappedKey: encrypt(dataKey, kek, aad(context, "wrap")),
    sealed: encrypt(plain, dataKey, aad(context, "data")),
  };
  dataKey.fill(0);
  return `${JSON.stringify(envelope)}\n`;
}

export function unseal(text: string, kek: Uint8Array, context: SealContext): Result<Buffer> {
  try {
    const { wrappedKey, sealed, v } = JSON.parse(text) as Partial<Record<string, unknown>>;
    if (v !== 1 || typeof wrappedKey !== "string" || typeof sealed !== "string") return damaged("it is no envelope");
    const dataKey = decrypt(wrappedKey, kek, aad(context, "wrap"));
    return ok(decrypt(sealed, dataKey, aad(context, "data")));
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
function encrypt(plain: Uint8Array, key: Uint8Array, additional: Buffer): string {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(additional);
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]).toString("base64");
}

function decrypt(text: string, key: Uint8Array, additional: Buffer): Buffer {
  const bytes = Buffer.from(text, "base64");
  const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes });
  decipher.setAAD(additional).setAuthTag(bytes.subarray(bytes.length - tagBytes));
  return Buffer.concat([decipher.update(bytes.subarray(nonceBytes, bytes.length - tagBytes)), decipher.final()]);
}
