// The commonest certification request, read without @peculiar/x509: a P-256 key, signed with ECDSA and SHA-256 (RFC 2986,
// RFC 5758). A tenth of the CPU time. Whatever has another form is left to x509.ts, so that this reader refuses nothing by
// itself: tests hold the two to the same answer. Called by x509.ts's callers and by the signing worker, which must stay light.
import { createPublicKey, verify } from "node:crypto";
import type { RequestFacts } from "./certificate.ts";
import { DerFault, DerReader } from "./der-reader.ts";
import { ecdsaSha256, p256Prefix, p256SpkiBytes, tag } from "./der.ts";

const version1 = Buffer.from("020100", "hex");
const attributes = 0xa0;

/** Whether a request proves possession of its key; `unread`: another kind of key or signature, or no request at all. */
export type Proof = "valid" | "invalid" | "unread";

/** The expensive half, for worker threads. Throws nothing. */
export function proofOf(der: Uint8Array): Proof {
  const parts = partsOf(der);
  if (parts === undefined) return "unread";
  const { signed, spkiDer, signature } = parts;
  try {
    return verify("sha256", signed, createPublicKey(pemOf(spkiDer)), signature) ? "valid" : "invalid";
  } catch {
    return "unread"; // OpenSSL's "not a point on the curve": x509.ts says so
  }
}

/** Node 24 reads the same key from PEM in half the time that DER takes it, which is a tenth of all that a leaf costs (measured). */
function pemOf(spkiDer: Buffer): string {
  return `-----BEGIN PUBLIC KEY-----\n${spkiDer.toString("base64")}\n-----END PUBLIC KEY-----\n`;
}

/** What a request says that `proofOf` has read. */
export function requestFacts(der: Uint8Array, proof: Exclude<Proof, "unread">): RequestFacts {
  const parts = partsOf(der);
  if (parts === undefined) throw new Error("a request that was read before cannot be read");
  const publicKey = { spkiDer: new Uint8Array(parts.spkiDer), kind: "P-256", rsaBits: 0 } as const;
  return { publicKey, signatureValid: proof === "valid" };
}

interface Parts {
  readonly signed: Buffer;
  readonly spkiDer: Buffer;
  readonly signature: Buffer;
}

function partsOf(der: Uint8Array): Parts | undefined {
  try {
    return readParts(new DerReader(Buffer.from(der.buffer, der.byteOffset, der.byteLength)));
  } catch (error) {
    if (error instanceof DerFault) return undefined;
    throw error;
  }
}

function readParts(outer: DerReader): Parts {
  const request = outer.inside(tag.sequence);
  outer.ends();
  const signed = request.whole(tag.sequence);
  request.exactly(ecdsaSha256);
  const bits = request.value(tag.bitString);
  request.ends();
  if (bits[0] !== 0) throw new DerFault("a signature has whole octets");
  const info = new DerReader(signed).inside(tag.sequence);
  info.exactly(version1);
  info.value(tag.sequence); // a name that nobody reads
  const spkiDer = info.whole(tag.sequence);
  info.value(attributes); // extensions that nobody reads
  info.ends();
  if (spkiDer.length !== p256SpkiBytes || p256Prefix.compare(spkiDer, 0, p256Prefix.length) !== 0) {
    throw new DerFault("another kind of key");
  }
  return { signed, spkiDer, signature: bits.subarray(1) };
}
