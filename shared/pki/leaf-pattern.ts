// The hot path's certificate: an end entity with a P-256 key under one issuer, from DER whose constant parts are made once. A
// pattern is plain bytes, so that a worker thread can be given it. What is made is read back, octet by octet and by code that
// shares nothing with the writer, before anybody gets it. leaf-issuer.ts proves a pattern against the whole profile once;
// tests compare its bytes with those of x509-builder.ts. Light: no package is loaded, a worker starts with this.
import { hash, randomFillSync } from "node:crypto";
import { rejected, ok, type Result } from "../result.ts";
import { extensionOid, type CertificateFacts } from "./certificate.ts";
import { DerFault, DerReader } from "./der-reader.ts";
import { ecdsaSha256, p256Prefix, p256SpkiBytes, sequence, tag, time, tlv } from "./der.ts";
import type { CertificateTemplate } from "./template.ts";

/** Everything that two leaves of one issuer and kind share. */
export interface LeafPattern {
  readonly kind: LeafKind;
  readonly issuerDer: Uint8Array;
  readonly issuerNotAfterMs: number;
  /** Basic constraints and key usage. */
  readonly leading: Uint8Array;
  /** Extended key usage and authority key identifier. */
  readonly trailing: Uint8Array;
}

export type LeafKind = "workload" | "agent";

/** What differs, beside key and serial. Flat, because it is copied to a worker thread. */
export interface LeafNames {
  readonly uri: string;
  /** Empty: none. */
  readonly dnsName: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

const version3 = Buffer.from("a003020102", "hex");
const emptyName = Buffer.from("3000", "hex");
const serialBytes = 16;
const keyIdBytes = 20;

const critical = Buffer.from("0101ff", "hex");
const basicConstraints = extension(extensionOid.basicConstraints, true, sequence());
/** digitalSignature: bit 0, so seven bits of the octet are unused. */
const keyUsage = extension(extensionOid.keyUsage, true, Buffer.from("03020780", "hex"));
const serverAuth = Buffer.from("06082b06010505070301", "hex");
const clientAuth = Buffer.from("06082b06010505070302", "hex");
const extendedKeyUsages: Readonly<Record<LeafKind, readonly Uint8Array[]>> = {
  workload: [serverAuth, clientAuth],
  agent: [clientAuth],
};
// both critical markers and identifiers of the two extensions that vary, as they stand before their octet string
const alternativeNameHead = Buffer.concat([oidOctets(extensionOid.subjectAltName), critical]);
const subjectKeyIdHead = oidOctets(extensionOid.subjectKeyId);

const extensionsTag = 0xa3;
const uriTag = 0x86;
const dnsTag = 0x82;

/** `issuer`'s key must be P-256, because the pattern names its signature algorithm. */
export function leafPattern(kind: LeafKind, issuer: CertificateFacts): LeafPattern {
  const keyId = Buffer.from(issuer.subjectKeyIdHex, "hex");
  return {
    kind,
    issuerDer: issuer.subjectDer,
    issuerNotAfterMs: issuer.notAfterMs,
    leading: Buffer.concat([basicConstraints, keyUsage]),
    trailing: Buffer.concat([
      extension(extensionOid.extendedKeyUsage, false, sequence(...extendedKeyUsages[kind])),
      extension(extensionOid.authorityKeyId, false, sequence(tlv(0x80, keyId))),
    ]),
  };
}

/** The names of a template of that kind; undefined: it asks for something that no pattern makes. */
export function leafNames({ kind, uris, dnsNames, ...rest }: CertificateTemplate): LeafNames | undefined {
  const [uri, ...moreUris] = uris;
  const [dnsName = "", ...moreNames] = dnsNames;
  const isPlain = rest.ipAddresses.length === 0 && rest.caPathLength === undefined && rest.constraints === undefined;
  if (uri === undefined || moreUris.length + moreNames.length > 0 || !isPlain) return undefined;
  if (kind !== "workload" && kind !== "agent") return undefined;
  return { uri, dnsName, ...rest.validity };
}

/** Made, signed and read back. `sign`: ECDSA with SHA-256 by the issuer's key, DER. */
export function makeLeaf(
  pattern: LeafPattern,
  names: LeafNames,
  spkiDer: Uint8Array,
  sign: (tbs: Uint8Array) => Uint8Array,
): Result<Uint8Array> {
  const tbs = tbsOf(pattern, names, spkiDer);
  return tbs.ok ? finishLeaf(pattern, names, spkiDer, { tbs: tbs.value, signature: sign(tbs.value) }) : tbs;
}

/** The part that is signed, for a key that signs elsewhere. */
export function tbsOf(pattern: LeafPattern, names: LeafNames, spkiDer: Uint8Array): Result<Buffer> {
  if (!isP256(spkiDer)) return rejected("ISTHMUS_CERTIFICATE", "the hot path certifies P-256 keys and nothing else");
  if (names.notAfterMs > pattern.issuerNotAfterMs) {
    return rejected("ISTHMUS_CERTIFICATE", "a leaf may not outlive its issuer");
  }
  const extensions = tlv(
    tag.sequence,
    pattern.leading,
    tlv(tag.sequence, alternativeNameHead, tlv(tag.octetString, alternativeNames(names))),
    tlv(tag.sequence, subjectKeyIdHead, tlv(tag.octetString, tlv(tag.octetString, keyIdOfP256(spkiDer)))),
    pattern.trailing,
  );
  return ok(
    sequence(
      version3,
      tlv(tag.integer, serial()),
      ecdsaSha256,
      pattern.issuerDer,
      sequence(time(names.notBeforeMs), time(names.notAfterMs)),
      emptyName,
      spkiDer,
      tlv(extensionsTag, extensions),
    ),
  );
}

export interface SignedPart {
  readonly tbs: Uint8Array;
  readonly signature: Uint8Array;
}

export function finishLeaf(
  pattern: LeafPattern,
  names: LeafNames,
  spkiDer: Uint8Array,
  { tbs, signature }: SignedPart,
): Result<Uint8Array> {
  const der = sequence(tbs, ecdsaSha256, tlv(tag.bitString, Buffer.from([0]), signature));
  return saysAsAsked(der, pattern, names, spkiDer)
    ? ok(der)
    : rejected("ISTHMUS_CERTIFICATE", "the certificate does not say what was asked for");
}

/** Reads every octet back: what varies against what was asked for, the rest against the pattern. */
function saysAsAsked(der: Buffer, pattern: LeafPattern, names: LeafNames, spkiDer: Uint8Array): boolean {
  try {
    const outer = new DerReader(der);
    const certificate = outer.inside(tag.sequence);
    outer.ends();
    const tbs = certificate.inside(tag.sequence);
    certificate.exactly(ecdsaSha256);
    readSignature(certificate.value(tag.bitString));
    certificate.ends();
    tbs.exactly(version3);
    readSerial(tbs.value(tag.integer));
    tbs.exactly(ecdsaSha256);
    tbs.exactly(pattern.issuerDer);
    const validity = tbs.inside(tag.sequence);
    const [notBeforeMs, notAfterMs] = [validity.time(), validity.time()];
    validity.ends();
    tbs.exactly(emptyName);
    tbs.exactly(spkiDer);
    const extensions = tbs.inside(extensionsTag).inside(tag.sequence);
    tbs.ends();
    extensions.exactly(pattern.leading);
    const [uri, dnsName] = readAlternativeNames(extensions.inside(tag.sequence));
    readSubjectKeyId(extensions.inside(tag.sequence), spkiDer);
    extensions.exactly(pattern.trailing);
    extensions.ends();
    return (
      uri === names.uri &&
      dnsName === names.dnsName &&
      notBeforeMs === names.notBeforeMs &&
      notAfterMs === names.notAfterMs
    );
  } catch (error) {
    if (error instanceof DerFault) return false;
    throw error;
  }
}

/** RFC 5280 4.1.2.2: positive; our own are 16 octets that need no padding. */
function readSerial(octets: Buffer): void {
  const first = octets[0] ?? 0;
  if (octets.length !== serialBytes || first < 0x40 || first > 0x7f) throw new DerFault("no serial of ours");
}

/** Ecdsa-Sig-Value: two integers; whether it verifies is the key's business. */
function readSignature(bits: Buffer): void {
  if (bits[0] !== 0) throw new DerFault("a signature has whole octets");
  const signature = new DerReader(bits, 1);
  const pair = signature.inside(tag.sequence);
  signature.ends();
  pair.value(tag.integer);
  pair.value(tag.integer);
  pair.ends();
}

function readAlternativeNames(extension: DerReader): readonly [string, string] {
  extension.exactly(alternativeNameHead);
  const names = extension.inside(tag.octetString).inside(tag.sequence);
  extension.ends();
  const uri = names.value(uriTag).toString("latin1");
  const dnsName = names.isAtEnd ? "" : names.value(dnsTag).toString("latin1");
  names.ends();
  return [uri, dnsName];
}

function readSubjectKeyId(extension: DerReader, spkiDer: Uint8Array): void {
  extension.exactly(subjectKeyIdHead);
  const value = extension.inside(tag.octetString);
  extension.ends();
  const found = value.value(tag.octetString);
  value.ends();
  if (!found.equals(keyIdOfP256(spkiDer))) throw new DerFault("another key's identifier");
}

export function isP256(spkiDer: Uint8Array): boolean {
  return spkiDer.length === p256SpkiBytes && p256Prefix.equals(spkiDer.subarray(0, p256Prefix.length));
}

/** RFC 7093 method 1 over the point, as x509-builder.ts writes it. */
function keyIdOfP256(spkiDer: Uint8Array): Buffer {
  return hash("sha256", spkiDer.subarray(p256Prefix.length - 1), "buffer").subarray(0, keyIdBytes);
}

function alternativeNames({ uri, dnsName }: LeafNames): Buffer {
  const names = [tlv(uriTag, Buffer.from(uri, "latin1"))];
  if (dnsName !== "") names.push(tlv(dnsTag, Buffer.from(dnsName, "latin1")));
  return sequence(...names);
}

// the pool of random octets: one call into OpenSSL per 256 serials
const randomPool = Buffer.alloc(serialBytes * 256);
let randomAt = randomPool.length;

function serial(): Buffer {
  if (randomAt === randomPool.length) {
    randomFillSync(randomPool);
    randomAt = 0;
  }
  const octets = Buffer.from(randomPool.subarray(randomAt, randomAt + serialBytes));
  randomAt += serialBytes;
  octets[0] = ((octets[0] ?? 0) & 0x3f) | 0x40;
  return octets;
}

function extension(oid: string, isCritical: boolean, value: Uint8Array): Buffer {
  return sequence(oidOctets(oid), ...(isCritical ? [critical] : []), tlv(tag.octetString, value));
}

/** All extensions that we write are `2.5.29.n` with n < 128: three octets. */
function oidOctets(oid: string): Buffer {
  const [joint, arc, ...rest] = oid.split(".").map(Number);
  return tlv(0x06, Buffer.from([(joint ?? 0) * 40 + (arc ?? 0), ...rest]));
}
