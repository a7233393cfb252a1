// DER of certificates and PKCS#10 requests -> facts. With x509-builder.ts the only importer of @peculiar/*, because the
// reflect polyfill must be evaluated first. What does not parse, or could be read in two ways, is refused.
import "reflect-metadata";
import { createPublicKey, webcrypto, type KeyObject } from "node:crypto";
import { AsnConvert } from "@peculiar/asn1-schema";
import {
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  ExtendedKeyUsage,
  KeyUsage,
  NameConstraints,
  SubjectAlternativeName,
  SubjectKeyIdentifier,
  type GeneralName,
  type GeneralSubtrees,
  type TBSCertificate,
} from "@peculiar/asn1-x509";
import { Pkcs10CertificateRequest } from "@peculiar/x509";
import { ok, rejected, type Result } from "../result.ts";
import {
  extensionOid,
  type CertificateFacts,
  type NameConstraints as ConstraintFacts,
  type NameSet,
  type PublicKeyFacts,
  type RequestFacts,
} from "./certificate.ts";
import { hexOf } from "./hex.ts";

const extendedKeyUsageNames: ReadonlyMap<string, string> = new Map([
  ["1.3.6.1.5.5.7.3.1", "serverAuth"],
  ["1.3.6.1.5.5.7.3.2", "clientAuth"],
]);

const curves: ReadonlyMap<string, "P-256" | "P-384"> = new Map([
  ["prime256v1", "P-256"],
  ["secp384r1", "P-384"],
]);

/** SHA-1 and MD5 prove nothing any more. */
const requestHashes: ReadonlySet<string> = new Set(["SHA-256", "SHA-384", "SHA-512"]);

/** Larger than any certificate or request of ours. Parsing costs CPU, so the size is asked first. */
export const maxDerBytes = 16 * 1024;

export function parseCertificate(der: Uint8Array): Result<CertificateFacts> {
  if (der.length > maxDerBytes) return tooLarge("certificate");
  try {
    return ok(readCertificate(AsnConvert.parse(der, Certificate)));
  } catch (error) {
    return rejected("ISTHMUS_X509", `not a certificate: ${reasonOf(error)}`);
  }
}

/** Parses a request and checks its proof of possession. Only its public key is ever used, so nothing else is read. */
export async function parseRequest(der: Uint8Array): Promise<Result<RequestFacts>> {
  if (der.length > maxDerBytes) return tooLarge("certificate request");
  try {
    const request = new Pkcs10CertificateRequest(der);
    const spki = Buffer.from(request.publicKey.rawData);
    const publicKey = publicKeyFacts(createPublicKey({ key: spki, format: "der", type: "spki" }));
    // @peculiar/x509's own type needs DOM's lib, which a server has no use for
    const { hash } = request.signatureAlgorithm as { readonly hash: { readonly name: string } };
    const strong = requestHashes.has(hash.name);
    return ok({ publicKey, signatureValid: strong && (await request.verify(webcrypto)) });
  } catch (error) {
    return rejected("ISTHMUS_X509", `not a certificate request: ${reasonOf(error)}`);
  }
}

function tooLarge(what: string): ReturnType<typeof rejected> {
  return rejected("ISTHMUS_X509", `the ${what} is larger than ${maxDerBytes} bytes`);
}

/** A parser's message may quote its input: the first line is enough for a person, the rest is noise. */
function reasonOf(error: unknown): string {
  return error instanceof Error ? (error.message.split("\n")[0] ?? "").slice(0, 200) : "unreadable";
}

function publicKeyFacts(key: KeyObject): PublicKeyFacts {
  const spkiDer = new Uint8Array(key.export({ type: "spki", format: "der" }));
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === "rsa") return { spkiDer, kind: "RSA", rsaBits: modulusLength ?? 0 };
  return { spkiDer, kind: curves.get(namedCurve ?? "") ?? "other", rsaBits: 0 };
}

function readCertificate({ tbsCertificate: tbs, signatureAlgorithm }: Certificate): CertificateFacts {
  const extensions = extensionsOf(tbs);
  const basic = extensions.read(extensionOid.basicConstraints, BasicConstraints);
  const alternative = extensions.read(extensionOid.subjectAltName, SubjectAlternativeName);
  const constraints = extensions.read(extensionOid.nameConstraints, NameConstraints);
  const subjectKeyId = extensions.read(extensionOid.subjectKeyId, SubjectKeyIdentifier);
  const authorityKeyId = extensions.read(extensionOid.authorityKeyId, AuthorityKeyIdentifier)?.keyIdentifier;
  const spki = Buffer.from(AsnConvert.serialize(tbs.subjectPublicKeyInfo));
  const names = namesOf(Array.from(alternative ?? []));
  return {
    version: tbs.version + 1,
    serialHex: hexOf(new Uint8Array(tbs.serialNumber)),
    signatureOid: signatureAlgorithm.algorithm,
    issuerDer: new Uint8Array(AsnConvert.serialize(tbs.issuer)),
    subjectDer: new Uint8Array(AsnConvert.serialize(tbs.subject)),
    subjectEmpty: tbs.subject.length === 0,
    notBeforeMs: tbs.validity.notBefore.getTime().getTime(),
    notAfterMs: tbs.validity.notAfter.getTime().getTime(),
    publicKey: publicKeyFacts(createPublicKey({ key: spki, format: "der", type: "spki" })),
    extensionOids: extensions.oids,
    criticalOids: extensions.criticalOids,
    ca: basic?.cA ?? false,
    pathLength: basic?.pathLenConstraint,
    keyUsages: extensions.read(extensionOid.keyUsage, KeyUsage)?.toJSON().map(keyUsageName) ?? [],
    extendedKeyUsages: Array.from(extensions.read(extensionOid.extendedKeyUsage, ExtendedKeyUsage) ?? []).map(
      (oid) => extendedKeyUsageNames.get(oid) ?? oid,
    ),
    names: {
      uris: names.uris,
      dnsNames: names.dnsNames,
      ipAddresses: names.ipRanges,
      mailboxes: names.mailboxes,
      others: names.others,
    },
    constraints: constraints === undefined ? undefined : constraintsOf(constraints),
    subjectKeyIdHex: subjectKeyId === undefined ? "" : hexOf(new Uint8Array(subjectKeyId.buffer)),
    authorityKeyIdHex: authorityKeyId === undefined ? "" : hexOf(new Uint8Array(authorityKeyId.buffer)),
  };
}

interface Extensions {
  readonly oids: readonly string[];
  readonly criticalOids: readonly string[];
  readonly read: <T>(oid: string, type: new () => T) => T | undefined;
}

function extensionsOf(tbs: TBSCertificate): Extensions {
  const all = Array.from(tbs.extensions ?? []);
  const oids = all.map((extension) => extension.extnID);
  // RFC 5280 4.2: at most one instance of an extension; two would be two readings
  if (new Set(oids).size !== oids.length) throw new Error("an extension occurs twice");
  return {
    oids,
    criticalOids: all.filter((extension) => extension.critical).map((extension) => extension.extnID),
    read: (oid, type) => {
      const found = all.find((extension) => extension.extnID === oid);
      return found === undefined ? undefined : AsnConvert.parse(found.extnValue, type);
    },
  };
}

/** asn1-x509 spells one of them otherwise than RFC 5280. */
function keyUsageName(name: string): string {
  return name === "crlSign" ? "cRLSign" : name;
}

function constraintsOf(constraints: NameConstraints): ConstraintFacts {
  const subtrees = (list: GeneralSubtrees | undefined) => namesOf(Array.from(list ?? []).map(({ base }) => base));
  return { permitted: subtrees(constraints.permittedSubtrees), excluded: subtrees(constraints.excludedSubtrees) };
}

function namesOf(list: readonly GeneralName[]): NameSet {
  const pick = <T>(read: (name: GeneralName) => T | undefined): T[] =>
    list.map(read).filter((value) => value !== undefined);
  return {
    uris: pick((name) => name.uniformResourceIdentifier),
    dnsNames: pick((name) => name.dNSName),
    mailboxes: pick((name) => name.rfc822Name),
    ipRanges: pick((name) => name.iPAddress),
    others: pick(otherKind),
  };
}

function otherKind(name: GeneralName): string | undefined {
  if (name.directoryName !== undefined) return "directoryName";
  if (name.otherName !== undefined) return "otherName";
  if (name.x400Address !== undefined) return "x400Address";
  if (name.ediPartyName !== undefined) return "ediPartyName";
  return name.registeredID === undefined ? undefined : "registeredID";
}
