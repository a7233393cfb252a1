// Templates -> DER: certificates of the full profile and certification requests. With x509.ts the only importer of
// @peculiar/*. The signature comes from a KeyProvider, so the signing key may live outside this process.
// Callers parse the result back and check it (validate.ts) before they release it.
import "reflect-metadata";
import { createHash, createPrivateKey, createPublicKey, randomBytes, webcrypto } from "node:crypto";
import { AsnConvert, OctetString } from "@peculiar/asn1-schema";
import {
  AlgorithmIdentifier,
  AuthorityKeyIdentifier,
  Certificate,
  Extension,
  Extensions,
  GeneralName,
  GeneralSubtree,
  GeneralSubtrees,
  KeyIdentifier,
  KeyUsage as KeyUsageFlags,
  Name,
  NameConstraints,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from "@peculiar/asn1-x509";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Name as NameText,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  type Extension as ExtensionText,
  type JsonName,
} from "@peculiar/x509";
import {
  extensionOid,
  type CertificateFacts,
  type ExtendedKeyUsage,
  type KeyUsage,
  type NameSet,
} from "./certificate.ts";
import { sequence, tag, tlv } from "./der.ts";
import type { KeyProvider } from "./key.ts";
import type { CertificateTemplate, DistinguishedName } from "./template.ts";

/** Bits of RFC 5280 4.2.1.3, the first named one being bit 0. */
const keyUsageBits: Readonly<Record<KeyUsage, number>> = {
  digitalSignature: 1 << 0,
  keyCertSign: 1 << 5,
  cRLSign: 1 << 6,
};

const extendedKeyUsageOids: Readonly<Record<ExtendedKeyUsage, string>> = {
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
};

/** pkcs-9-at-extensionRequest (RFC 2985 5.4.2). */
const extensionRequestOid = Buffer.from("06092a864886f70d01090e", "hex");

export interface Issuer {
  readonly key: KeyProvider;
  /** undefined: the certificate signs itself. */
  readonly certificate: CertificateFacts | undefined;
}

/** Builds and signs; the subject's public key is all that the caller brings along. */
export async function buildCertificate(
  template: CertificateTemplate,
  subjectSpkiDer: Uint8Array,
  issuer: Issuer,
): Promise<Uint8Array> {
  const signatureAlgorithm = signatureAlgorithmOf(issuer.key.spkiDer);
  const subject = subjectName(template.subject);
  const tbsCertificate = new TBSCertificate({
    version: Version.v3,
    serialNumber: bytes(newSerial()),
    signature: signatureAlgorithm,
    issuer: issuer.certificate === undefined ? subject : AsnConvert.parse(issuer.certificate.subjectDer, Name),
    validity: new Validity({
      notBefore: new Date(template.validity.notBeforeMs),
      notAfter: new Date(template.validity.notAfterMs),
    }),
    subject,
    subjectPublicKeyInfo: AsnConvert.parse(subjectSpkiDer, SubjectPublicKeyInfo),
    extensions: new Extensions(extensionsOf(template, subjectSpkiDer, issuer.certificate)),
  });
  const signature = await issuer.key.sign(new Uint8Array(AsnConvert.serialize(tbsCertificate)));
  const certificate = new Certificate({ tbsCertificate, signatureAlgorithm, signatureValue: bytes(signature) });
  return new Uint8Array(AsnConvert.serialize(certificate));
}

/** A request for `keyPem`'s public key with proof of possession. It carries no name: the issuer takes none from it. */
export async function buildRequest(keyPem: string): Promise<Uint8Array> {
  const key = createPrivateKey(keyPem);
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const request = await Pkcs10CertificateRequestGenerator.create(
    {
      keys: {
        privateKey: key.toCryptoKey(algorithm, false, ["sign"]),
        publicKey: createPublicKey(key).toCryptoKey(algorithm, true, ["verify"]),
      },
      signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    },
    webcrypto,
  );
  return new Uint8Array(request.rawData);
}

/**
 * A request (RFC 2986) that asks for what `template` says, for an issuer that is not ours and may grant it. The key may be in a
 * token: it only signs.
 */
export async function buildCaRequest(template: CertificateTemplate, key: KeyProvider): Promise<Uint8Array> {
  const extensions = new Extensions(extensionsOf(template, key.spkiDer, undefined));
  const info = sequence(
    tlv(tag.integer, Buffer.from([0])),
    new Uint8Array(AsnConvert.serialize(subjectName(template.subject))),
    key.spkiDer,
    tlv(0xa0, sequence(extensionRequestOid, tlv(tag.set, new Uint8Array(AsnConvert.serialize(extensions))))),
  );
  const algorithm = new Uint8Array(AsnConvert.serialize(signatureAlgorithmOf(key.spkiDer)));
  return sequence(info, algorithm, tlv(tag.bitString, Buffer.from([0]), await key.sign(info)));
}

/** RFC 7093 method 1 (SHA-256 cut to 160 bits) over the key's bits: identifies a key, proves nothing. */
export function keyIdOf(spkiDer: Uint8Array): Uint8Array {
  const { subjectPublicKey } = AsnConvert.parse(spkiDer, SubjectPublicKeyInfo);
  return createHash("sha256").update(new Uint8Array(subjectPublicKey)).digest().subarray(0, 20);
}

/** RFC 5280 4.1.2.2: positive, at most 20 octets; the first octet is 0x40-0x7f so that DER needs no padding and cuts nothing. */
export function newSerial(): Uint8Array {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  return serial;
}

function extensionsOf(
  template: CertificateTemplate,
  subjectSpkiDer: Uint8Array,
  issuer: CertificateFacts | undefined,
): Extension[] {
  const { caPathLength, extendedKeyUsages, constraints } = template;
  const usages = template.keyUsages.reduce((bits, usage) => bits | keyUsageBits[usage], 0);
  const subjectEmpty = Object.keys(template.subject).length === 0;
  const list = [
    plain(new BasicConstraintsExtension(caPathLength !== undefined, caPathLength, true)),
    extension(extensionOid.keyUsage, true, AsnConvert.serialize(new KeyUsageFlags(usages))),
    plain(new SubjectAlternativeNameExtension(alternativeNames(template), subjectEmpty)),
    extension(extensionOid.subjectKeyId, false, AsnConvert.serialize(new OctetString(bytes(keyIdOf(subjectSpkiDer))))),
  ];
  if (extendedKeyUsages.length > 0) {
    list.push(plain(new ExtendedKeyUsageExtension(extendedKeyUsages.map((usage) => extendedKeyUsageOids[usage]))));
  }
  if (issuer !== undefined) {
    const keyIdentifier = new KeyIdentifier(bytes(Buffer.from(issuer.subjectKeyIdHex, "hex")));
    list.push(
      extension(
        extensionOid.authorityKeyId,
        false,
        AsnConvert.serialize(new AuthorityKeyIdentifier({ keyIdentifier })),
      ),
    );
  }
  if (constraints !== undefined) {
    const value = new NameConstraints({
      permittedSubtrees: subtrees(constraints.permitted),
      excludedSubtrees: subtrees(constraints.excluded),
    });
    list.push(extension(extensionOid.nameConstraints, true, AsnConvert.serialize(value)));
  }
  return list;
}

function alternativeNames({ uris, dnsNames, ipAddresses }: CertificateTemplate) {
  return [
    ...uris.map((value) => ({ type: "url" as const, value })),
    ...dnsNames.map((value) => ({ type: "dns" as const, value })),
    ...ipAddresses.map((value) => ({ type: "ip" as const, value })),
  ];
}

function subtrees(names: NameSet): GeneralSubtrees {
  const list = [
    ...names.uris.map((uniformResourceIdentifier) => new GeneralName({ uniformResourceIdentifier })),
    ...names.dnsNames.map((dNSName) => new GeneralName({ dNSName })),
    ...names.mailboxes.map((rfc822Name) => new GeneralName({ rfc822Name })),
    ...names.ipRanges.map((iPAddress) => new GeneralName({ iPAddress })),
  ];
  return new GeneralSubtrees(list.map((base) => new GeneralSubtree({ base })));
}

function subjectName(subject: DistinguishedName): Name {
  const parts: JsonName = [];
  if (subject.organization !== undefined) parts.push({ O: [subject.organization] });
  if (subject.unit !== undefined) parts.push({ OU: [subject.unit] });
  if (subject.commonName !== undefined) parts.push({ CN: [subject.commonName] });
  return AsnConvert.parse(new NameText(parts).toArrayBuffer(), Name);
}

function signatureAlgorithmOf(spkiDer: Uint8Array): AlgorithmIdentifier {
  const key = createPublicKey({ key: Buffer.from(spkiDer), format: "der", type: "spki" });
  // RFC 4055 wants explicit NULL parameters for RSA, RFC 5758 none for ECDSA
  if (key.asymmetricKeyType === "rsa") {
    return new AlgorithmIdentifier({ algorithm: "1.2.840.113549.1.1.11", parameters: null });
  }
  const p384 = key.asymmetricKeyDetails?.namedCurve === "secp384r1";
  return new AlgorithmIdentifier({ algorithm: p384 ? "1.2.840.10045.4.3.3" : "1.2.840.10045.4.3.2" });
}

function plain(value: ExtensionText): Extension {
  return AsnConvert.parse(value.rawData, Extension);
}

function extension(extnID: string, critical: boolean, value: ArrayBuffer): Extension {
  return new Extension({ extnID, critical, extnValue: new OctetString(value) });
}

function bytes(view: Uint8Array): ArrayBuffer {
  return new Uint8Array(view).buffer;
}
