// The hot path: workload leaves under one issuer, from DER whose constant parts are made once. One costs a fourteenth of the
// CPU time that @peculiar/x509 needs to build one and parse it back (measured in one run), and all of that blocks the event
// loop. The first leaf of an issuer is parsed and checked against the whole profile; all later ones share its constant bytes,
// and what varies is read back by OpenSSL's parser before it is released.
// Called by agent/identity/cluster-ca.ts. Tests compare its bytes with those of x509-builder.ts.
import { createHash, X509Certificate } from "node:crypto";
import { rejected, ok, type Result } from "../result.ts";
import { extensionOid, type CertificateFacts } from "./certificate.ts";
import { sequence, tag, time, tlv } from "./der.ts";
import type { KeyProvider } from "./key.ts";
import type { CertificateTemplate } from "./template.ts";
import { checkCertificate, validated } from "./validate.ts";
import { newSerial } from "./x509-builder.ts";
import { parseCertificate } from "./x509.ts";

export interface LeafIssuer {
  /** `template` from workloadTemplate; `spkiDer` of a P-256 key. */
  issue(template: CertificateTemplate, spkiDer: Uint8Array): Promise<Result<Uint8Array>>;
}

const version3 = Buffer.from("a003020102", "hex");
/** ecdsa-with-SHA256, RFC 5758: no parameters. */
const ecdsaSha256 = Buffer.from("300a06082a8648ce3d040302", "hex");
const emptyName = Buffer.from("3000", "hex");
/** SubjectPublicKeyInfo of a P-256 key up to its 65 octets of point. */
const p256Prefix = Buffer.from("3059301306072a8648ce3d020106082a8648ce3d030107034200", "hex");

const critical = Buffer.from("0101ff", "hex");
const basicConstraints = extension(extensionOid.basicConstraints, true, sequence());
/** digitalSignature: bit 0, so seven bits of the octet are unused. */
const keyUsage = extension(extensionOid.keyUsage, true, Buffer.from("03020780", "hex"));
/** serverAuth, clientAuth. */
const extendedKeyUsage = extension(
  extensionOid.extendedKeyUsage,
  false,
  sequence(Buffer.from("06082b06010505070301", "hex"), Buffer.from("06082b06010505070302", "hex")),
);

const uriName = 0x86;
const dnsName = 0x82;

export function createLeafIssuer(key: KeyProvider, issuer: CertificateFacts): Result<LeafIssuer> {
  if (issuer.publicKey.kind !== "P-256") return rejected("ISTHMUS_KEY_KIND", "a cluster CA's key is P-256");
  const keyId = Buffer.from(issuer.subjectKeyIdHex, "hex");
  const authorityKeyId = extension(extensionOid.authorityKeyId, false, sequence(tlv(0x80, keyId)));
  let isProven = false;

  const build = async (template: CertificateTemplate, spkiDer: Uint8Array): Promise<Buffer> => {
    const subjectKeyId = createHash("sha256").update(spkiDer.subarray(p256Prefix.length)).digest().subarray(0, 20);
    const extensions = sequence(
      basicConstraints,
      keyUsage,
      alternativeNames(template),
      extension(extensionOid.subjectKeyId, false, tlv(tag.octetString, subjectKeyId)),
      extendedKeyUsage,
      authorityKeyId,
    );
    const tbs = sequence(
      version3,
      tlv(tag.integer, newSerial()),
      ecdsaSha256,
      issuer.subjectDer,
      sequence(time(template.validity.notBeforeMs), time(template.validity.notAfterMs)),
      emptyName,
      spkiDer,
      tlv(0xa3, extensions),
    );
    const signature = await key.sign(tbs);
    return sequence(tbs, ecdsaSha256, tlv(tag.bitString, Buffer.from([0]), signature));
  };

  return ok({
    issue: async (template, spkiDer) => {
      if (template.kind !== "workload" || !isP256(spkiDer)) {
        return rejected("ISTHMUS_CERTIFICATE", "the hot path makes workload leaves with P-256 keys and nothing else");
      }
      if (template.validity.notAfterMs > issuer.notAfterMs) {
        return rejected("ISTHMUS_CERTIFICATE", "a leaf may not outlive its issuer");
      }
      const der = await build(template, spkiDer);
      const checked = isProven ? checkVarying(der, template, spkiDer) : checkWhole(der, template, issuer);
      if (!checked.ok) return checked;
      isProven = true;
      return ok(new Uint8Array(der));
    },
  });
}

function isP256(spkiDer: Uint8Array): boolean {
  return spkiDer.length === p256Prefix.length + 65 && p256Prefix.equals(spkiDer.subarray(0, p256Prefix.length));
}

function checkWhole(der: Uint8Array, template: CertificateTemplate, issuer: CertificateFacts): Result<true> {
  const facts = parseCertificate(der);
  return facts.ok ? validated(checkCertificate(facts.value, template, issuer)) : facts;
}

/** Reads back, by another parser than the one that wrote, everything in which two leaves of an issuer differ. */
function checkVarying(der: Uint8Array, template: CertificateTemplate, spkiDer: Uint8Array): Result<true> {
  const read = new X509Certificate(der);
  const { notBeforeMs, notAfterMs } = template.validity;
  const names = [...template.uris.map((uri) => `URI:${uri}`), ...template.dnsNames.map((name) => `DNS:${name}`)];
  const asAsked =
    read.subjectAltName === names.join(", ") &&
    read.validFromDate.getTime() === notBeforeMs &&
    read.validToDate.getTime() === notAfterMs &&
    !read.ca &&
    read.publicKey.export({ type: "spki", format: "der" }).equals(spkiDer);
  return asAsked ? ok(true) : rejected("ISTHMUS_CERTIFICATE", "the certificate does not say what was asked for");
}

function alternativeNames(template: CertificateTemplate): Buffer {
  const names = [
    ...template.uris.map((uri) => tlv(uriName, Buffer.from(uri, "latin1"))),
    ...template.dnsNames.map((name) => tlv(dnsName, Buffer.from(name, "latin1"))),
  ];
  // critical because the subject is empty (RFC 5280 4.1.2.6)
  return extension(extensionOid.subjectAltName, true, sequence(...names));
}

function extension(oid: string, isCritical: boolean, value: Uint8Array): Buffer {
  const parts = [oidOctets(oid), ...(isCritical ? [critical] : []), tlv(tag.octetString, value)];
  return sequence(...parts);
}

/** All extensions that we write are `2.5.29.n` with n < 128: three octets. */
function oidOctets(oid: string): Buffer {
  const [joint, arc, ...rest] = oid.split(".").map(Number);
  return tlv(0x06, Buffer.from([(joint ?? 0) * 40 + (arc ?? 0), ...rest]));
}
