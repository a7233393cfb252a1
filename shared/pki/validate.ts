// Whether an issued certificate says what its template asked for, and nothing else. Called on everything that is signed,
// before it is released, and on everything that is received: cert-manager 1.17.4 wrote permitted URI domains as excluded
// ones (#7832), and nobody had looked. Pure: it compares facts that x509.ts parsed.
import { ok, err, type Problem, type Result } from "../result.ts";
import {
  extensionOid,
  type CertificateFacts,
  type NameConstraints,
  type NameSet,
  type PublicKeyFacts,
} from "./certificate.ts";
import { hexOf } from "./hex.ts";
import type { CertificateTemplate } from "./template.ts";

/** Ed25519 is left out: Envoy's support is limited. A weaker RSA key is forged sooner than the certificate ends. */
export function checkPublicKey(key: PublicKeyFacts): readonly Problem[] {
  if (key.kind === "P-256" || key.kind === "P-384" || (key.kind === "RSA" && key.rsaBits >= 2048)) return [];
  const found = key.kind === "RSA" ? `RSA with ${key.rsaBits} bits` : "another kind";
  return [
    { code: "ISTHMUS_KEY_KIND", field: "publicKey", message: `allowed: P-256, P-384, RSA >= 2048; found ${found}` },
  ];
}

/** Every difference between what was asked for and what `issued` says; empty means releasable. */
export function checkCertificate(
  issued: CertificateFacts,
  template: CertificateTemplate,
  issuer: CertificateFacts,
): readonly Problem[] {
  const problems: Problem[] = [...checkPublicKey(issued.publicKey)];
  const same = (field: string, found: unknown, wanted: unknown) => {
    const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
    if (a !== b) problems.push({ code: "ISTHMUS_CERTIFICATE", field, message: `the certificate says ${a}, not ${b}` });
  };
  const { notBeforeMs, notAfterMs } = template.validity;
  same("version", issued.version, 3);
  same("serial", isPositiveSerial(issued.serialHex), true);
  same("issuer", hexOf(issued.issuerDer), hexOf(issuer.subjectDer));
  same("authorityKeyId", issued.authorityKeyIdHex, template.kind === "root" ? "" : issuer.subjectKeyIdHex);
  same("subjectKeyId", issued.subjectKeyIdHex !== "", true);
  same("subject", issued.subjectEmpty, Object.keys(template.subject).length === 0);
  same("validity", [issued.notBeforeMs, issued.notAfterMs], [notBeforeMs, notAfterMs]);
  same("validity.notAfter within the issuer's", issued.notAfterMs <= issuer.notAfterMs, true);
  same("ca", issued.ca, template.caPathLength !== undefined);
  same("pathLength", issued.pathLength, template.caPathLength);
  same("keyUsages", [...issued.keyUsages].sort(), [...template.keyUsages].sort());
  same("extendedKeyUsages", [...issued.extendedKeyUsages].sort(), [...template.extendedKeyUsages].sort());
  same("names.uris", issued.names.uris, template.uris);
  same("names.dnsNames", issued.names.dnsNames, template.dnsNames);
  same("names.ipAddresses", issued.names.ipAddresses, template.ipAddresses);
  same("names.mailboxes", issued.names.mailboxes, []);
  same("names.others", issued.names.others, []);
  same("constraints", orderedConstraints(issued.constraints), orderedConstraints(template.constraints));
  same("extensions", [...issued.extensionOids].sort(), wantedExtensions(template));
  same("critical extensions", [...issued.criticalOids].sort(), criticalExtensions(template));
  return problems;
}

/** As a Result, for callers that release or refuse. */
export function validated(problems: readonly Problem[]): Result<true> {
  return problems.length === 0 ? ok(true) : err(problems);
}

function wantedExtensions(template: CertificateTemplate): readonly string[] {
  const { subjectKeyId, authorityKeyId, keyUsage, basicConstraints, subjectAltName } = extensionOid;
  const oids: string[] = [subjectKeyId, keyUsage, basicConstraints, subjectAltName];
  if (template.kind !== "root") oids.push(authorityKeyId);
  if (template.extendedKeyUsages.length > 0) oids.push(extensionOid.extendedKeyUsage);
  if (template.constraints !== undefined) oids.push(extensionOid.nameConstraints);
  return oids.sort();
}

function criticalExtensions(template: CertificateTemplate): readonly string[] {
  const oids: string[] = [extensionOid.keyUsage, extensionOid.basicConstraints];
  if (Object.keys(template.subject).length === 0) oids.push(extensionOid.subjectAltName);
  if (template.constraints !== undefined) oids.push(extensionOid.nameConstraints);
  return oids.sort();
}

function orderedConstraints(constraints: NameConstraints | undefined): unknown {
  if (constraints === undefined) return null;
  return { permitted: orderedNames(constraints.permitted), excluded: orderedNames(constraints.excluded) };
}

function orderedNames(names: NameSet): unknown {
  return [names.uris, names.dnsNames, names.mailboxes, names.ipRanges, names.others].map((list) => [...list].sort());
}

/** RFC 5280 4.1.2.2: positive, at most 20 octets. */
function isPositiveSerial(serialHex: string): boolean {
  return /^[0-7][0-9a-f]{0,39}$/.test(serialHex) && !/^0+$/.test(serialHex);
}
