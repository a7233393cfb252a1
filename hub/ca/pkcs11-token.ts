// One token behind PKCS#11 (OASIS v2.40): finds, makes and uses P-256 signing keys and AES-256 key-encryption keys that never
// leave it. The only file that loads the native module `pkcs11js`, and only when fleet.json names a token: a hub without one
// neither needs nor loads it. Called by pkcs11-key-store.ts.
import { createHash } from "node:crypto";
import type { Attribute, Handle, Mechanism, PKCS11 } from "pkcs11js";
import { UserError } from "../../shared/errors.ts";
import { ecdsaSignature, p256Prefix, p256SpkiBytes } from "../../shared/pki/der.ts";
import type { KeyProvider } from "../../shared/pki/key.ts";
import { tagBytes, type KeyEncryptionKey } from "../../shared/pki/sealing.ts";
import { readSecretFile } from "../../shared/pki/secret-file.ts";
import type { Pkcs11Place } from "./pkcs11-uri.ts";

export interface Pkcs11Token {
  createSigner(label: string): Promise<KeyProvider>;
  openSigner(label: string): Promise<KeyProvider>;
  removeSigner(label: string): Promise<void>;
  createKek(label: string): Promise<KeyEncryptionKey>;
  openKek(label: string): Promise<KeyEncryptionKey>;
}

type Pkcs11Module = typeof import("pkcs11js");

/** OBJECT IDENTIFIER prime256v1. */
const p256Oid = Buffer.from("06082a8648ce3d030107", "hex");
/** OCTET STRING of an uncompressed point of 65 octets: how CKA_EC_POINT is written. */
const pointHead = Buffer.from("044104", "hex");
const signatureBytes = 64;

/** Throws UserError ISTHMUS_PKCS11 when module, library, token or PIN is not as named. */
export async function openPkcs11Token(place: Pkcs11Place): Promise<Pkcs11Token> {
  const pkcs11 = await loadModule();
  const pin = (await readSecretFile(place.pinFile)).trim();
  const library = new pkcs11.PKCS11();
  try {
    library.load(place.modulePath);
  } catch (cause) {
    throw unusable(`the library ${place.modulePath} cannot be loaded`, "check module-path in the URI", cause);
  }
  return new OpenToken(pkcs11, library, logIn(pkcs11, library, place, pin));
}

async function loadModule(): Promise<Pkcs11Module> {
  try {
    const { default: module } = (await import("pkcs11js")) as unknown as { readonly default: Pkcs11Module };
    return module;
  } catch (cause) {
    const hint =
      "it is optional and native: npm install pkcs11js@2.1.7, then npm rebuild pkcs11js (needs a C++ compiler)";
    throw unusable("the package pkcs11js is not installed or was not built", hint, cause);
  }
}

function logIn(module: Pkcs11Module, library: PKCS11, { tokenLabel, pinFile }: Pkcs11Place, pin: string): Handle {
  // this process may have opened the library before: the library counts once per process
  tolerate(() => library.C_Initialize(), "CKR_CRYPTOKI_ALREADY_INITIALIZED");
  const slots = library.C_GetSlotList(true);
  const slot = slots.find((candidate) => library.C_GetTokenInfo(candidate).label.trim() === tokenLabel);
  if (slot === undefined) {
    throw unusable(`no token is labelled ${tokenLabel}`, "this shows them: pkcs11-tool --module LIBRARY --list-slots");
  }
  const session = library.C_OpenSession(slot, module.CKF_SERIAL_SESSION | module.CKF_RW_SESSION);
  try {
    tolerate(() => library.C_Login(session, module.CKU_USER, pin), "CKR_USER_ALREADY_LOGGED_IN");
  } catch (cause) {
    const hint = `check the PIN in ${pinFile}; a token locks itself after a few wrong ones`;
    throw unusable(`the token ${tokenLabel} refused the login`, hint, cause);
  }
  return session;
}

function tolerate(call: () => void, expected: string): void {
  try {
    call();
  } catch (error) {
    if (!(error instanceof Error) || !error.message.includes(expected)) throw error;
  }
}

function unusable(message: string, hint: string, cause?: unknown): UserError {
  return new UserError("ISTHMUS_PKCS11", message, cause === undefined ? { hint } : { hint, cause });
}

class OpenToken implements Pkcs11Token {
  readonly #module: Pkcs11Module;
  readonly #library: PKCS11;
  readonly #session: Handle;
  /** A session does one operation at a time (PKCS#11 v2.40 section 5.6). */
  #last: Promise<unknown> = Promise.resolve();

  constructor(module: Pkcs11Module, library: PKCS11, session: Handle) {
    this.#module = module;
    this.#library = library;
    this.#session = session;
  }

  async createSigner(label: string): Promise<KeyProvider> {
    const m = this.#module;
    await this.#inTurn(() =>
      this.#library.C_GenerateKeyPairAsync(
        this.#session,
        { mechanism: m.CKM_ECDSA_KEY_PAIR_GEN },
        [...this.#named(label), { type: m.CKA_VERIFY, value: true }, { type: m.CKA_EC_PARAMS, value: p256Oid }],
        [...this.#named(label), ...this.#kept(), { type: m.CKA_SIGN, value: true }],
      ),
    );
    return this.openSigner(label);
  }

  async openSigner(label: string): Promise<KeyProvider> {
    const m = this.#module;
    const [publicKey, privateKey] = await this.#inTurn(async () =>
      Promise.resolve([this.#find(m.CKO_PUBLIC_KEY, label), this.#find(m.CKO_PRIVATE_KEY, label)]),
    );
    if (publicKey === undefined || privateKey === undefined) throw missing(label);
    this.#mustStay(privateKey, label);
    const spkiDer = spkiOfPoint(this.#attribute(publicKey, m.CKA_EC_POINT), label);
    return { spkiDer, sign: (data) => this.#sign(privateKey, data) };
  }

  async removeSigner(label: string): Promise<void> {
    const m = this.#module;
    await this.#inTurn(async () => {
      for (const kind of [m.CKO_PRIVATE_KEY, m.CKO_PUBLIC_KEY]) {
        const found = this.#find(kind, label);
        if (found !== undefined) this.#library.C_DestroyObject(this.#session, found);
      }
      return Promise.resolve();
    });
  }

  async createKek(label: string): Promise<KeyEncryptionKey> {
    const m = this.#module;
    const use = [m.CKA_ENCRYPT, m.CKA_DECRYPT].map((type) => ({ type, value: true }));
    await this.#inTurn(() =>
      this.#library.C_GenerateKeyAsync(this.#session, { mechanism: m.CKM_AES_KEY_GEN }, [
        ...this.#named(label),
        ...this.#kept(),
        ...use,
        { type: m.CKA_CLASS, value: m.CKO_SECRET_KEY },
        { type: m.CKA_KEY_TYPE, value: m.CKK_AES },
        { type: m.CKA_VALUE_LEN, value: 32 },
      ]),
    );
    return this.openKek(label);
  }

  async openKek(label: string): Promise<KeyEncryptionKey> {
    const key = await this.#inTurn(() => Promise.resolve(this.#find(this.#module.CKO_SECRET_KEY, label)));
    if (key === undefined) throw missing(label);
    this.#mustStay(key, label);
    return {
      encrypt: (plain, nonce, additional) =>
        this.#inTurn(() => {
          this.#library.C_EncryptInit(this.#session, this.#gcm(nonce, additional), key);
          return this.#library.C_EncryptAsync(this.#session, Buffer.from(plain), Buffer.alloc(plain.length + tagBytes));
        }),
      decrypt: (sealed, nonce, additional) =>
        this.#inTurn(() => {
          this.#library.C_DecryptInit(this.#session, this.#gcm(nonce, additional), key);
          return this.#library.C_DecryptAsync(this.#session, Buffer.from(sealed), Buffer.alloc(sealed.length));
        }),
    };
  }

  #sign(key: Handle, data: Uint8Array): Promise<Uint8Array> {
    const digest = createHash("sha256").update(data).digest();
    return this.#inTurn(async () => {
      this.#library.C_SignInit(this.#session, { mechanism: this.#module.CKM_ECDSA }, key);
      const raw = await this.#library.C_SignAsync(this.#session, digest, Buffer.alloc(signatureBytes));
      return ecdsaSignature(raw);
    });
  }

  #inTurn<T>(operation: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(operation);
    this.#last = turn.catch(() => undefined); // the one who asked is told; the next one has its turn
    return turn;
  }

  #gcm(nonce: Uint8Array, additional: Uint8Array): Mechanism {
    const m = this.#module;
    const [iv, aad] = [Buffer.from(nonce), Buffer.from(additional)];
    const parameter = { type: m.CK_PARAMS_AES_GCM_v240, iv, ivBits: iv.length * 8, aad, tagBits: tagBytes * 8 };
    return { mechanism: m.CKM_AES_GCM, parameter };
  }

  #named(label: string): Attribute[] {
    const m = this.#module;
    return [
      { type: m.CKA_TOKEN, value: true },
      { type: m.CKA_LABEL, value: label },
      { type: m.CKA_ID, value: Buffer.from(label) },
    ];
  }

  /** Private, and never to be read out. */
  #kept(): Attribute[] {
    const m = this.#module;
    return [
      { type: m.CKA_PRIVATE, value: true },
      { type: m.CKA_SENSITIVE, value: true },
      { type: m.CKA_EXTRACTABLE, value: false },
    ];
  }

  #find(kind: number, label: string): Handle | undefined {
    const m = this.#module;
    this.#library.C_FindObjectsInit(this.#session, [
      { type: m.CKA_CLASS, value: kind },
      { type: m.CKA_LABEL, value: label },
    ]);
    try {
      const found = this.#library.C_FindObjects(this.#session, 2);
      if (found.length > 1)
        throw unusable(`the token holds two keys labelled "${label}"`, "remove the one that is not ours");
      return found[0];
    } finally {
      this.#library.C_FindObjectsFinal(this.#session);
    }
  }

  /** A key that may be read out is worth no more than a file: whoever made it so is told. */
  #mustStay(key: Handle, label: string): void {
    const m = this.#module;
    const isTrue = (type: number) => this.#attribute(key, type)[0] !== 0;
    if (isTrue(m.CKA_SENSITIVE) && !isTrue(m.CKA_EXTRACTABLE)) return;
    throw unusable(
      `the key "${label}" may be read out of the token`,
      "make the fleet's keys with isthmus, not by hand",
    );
  }

  #attribute(object: Handle, type: number): Buffer {
    const [found] = this.#library.C_GetAttributeValue(this.#session, object, [{ type }]);
    return Buffer.isBuffer(found?.value) ? found.value : Buffer.alloc(0);
  }
}

function missing(label: string): UserError {
  return unusable(`the token has no key labelled "${label}"`, "is it the token with which this fleet was made?");
}

function spkiOfPoint(ecPoint: Buffer, label: string): Uint8Array {
  const spkiDer = Buffer.concat([p256Prefix, ecPoint.subarray(pointHead.length)]);
  if (spkiDer.length === p256SpkiBytes && pointHead.equals(ecPoint.subarray(0, pointHead.length))) return spkiDer;
  throw unusable(`the key "${label}" is no P-256 key`, "remove it from the token");
}
