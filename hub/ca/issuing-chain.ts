// A chain that somebody else signed for the hub's issuing CA: whether this fleet can live under it. Asked before anything of it
// is kept or stated to a member, because a root that is trusted and turns out wrong needs a rotation to get rid of.
// Pure but for the signatures (node:crypto). Called by issuing-ca.ts.
import { X509Certificate } from "node:crypto";
import type { CertificateFacts, NameConstraints } from "../../shared/pki/certificate.ts";
import { extensionOid } from "../../shared/pki/certificate.ts";
import { hexOf } from "../../shared/pki/hex.ts";
import { checkPublicKey } from "../../shared/pki/validate.ts";
import { parseCertificate } from "../../shared/pki/x509.ts";
import { err, ok, rejected, type Problem, type Result } from "../../shared/result.ts";

export interface IssuingChain {
  /** The issuing CA first; then what is between it and the root, if anything. Without the root. */
  readonly chainDer: readonly Uint8Array[];
  readonly rootDer: Uint8Array;
  readonly issuing: CertificateFacts;
  readonly root: CertificateFacts;
}

export interface ChainExpectation {
  readonly fleetDomain: string;
  /** The key that the hub made for it. */
  readonly spkiDer: Uint8Array;
  readonly nowMs: number;
  /** How long the issuing CA must still live: several lives of what it signs (SPIRE #7199). */
  readonly leastLifeMs: number;
}

/** ecdsa-with-SHA1, sha1WithRSAEncryption, md5WithRSAEncryption. */
const weakSignatures = new Set(["1.2.840.10045.4.1", "1.2.840.113549.1.1.5", "1.2.840.113549.1.1.4"]);
/** RFC 5280 section 4.2: what a verifier does not know and is critical, it must refuse. These it knows. */
const knownCritical = new Set<string>([
  extensionOid.basicConstraints,
  extensionOid.keyUsage,
  extensionOid.nameConstraints,
  extensionOid.subjectAltName,
]);
/** A chain longer than this is a mistake; each link costs every handshake of the fleet. */
const mostCertificates = 5;

/** `certificatesDer`: the issuing CA first, each signed by the next, the root last. */
export function checkIssuingChain(
  certificatesDer: readonly Uint8Array[],
  expected: ChainExpectation,
): Result<IssuingChain> {
  if (certificatesDer.length < 2 || certificatesDer.length > mostCertificates) {
    const wanted = `issuing CA first, root last, ${mostCertificates} at most`;
    return refuse(`${certificatesDer.length} certificates; wanted: ${wanted}`, "chain");
  }
  const parsed = certificatesDer.map((der) => parseCertificate(der));
  const facts = parsed.flatMap((one) => (one.ok ? [one.value] : []));
  const [issuing, root, rootDer] = [facts[0], facts.at(-1), certificatesDer.at(-1)];
  if (facts.length < parsed.length || issuing === undefined || root === undefined || rootDer === undefined) {
    return refuse("a certificate of it cannot be read", "chain");
  }
  const problems = [
    ...linkProblems(certificatesDer),
    ...keyIdProblems(facts),
    ...facts.flatMap((one, at) => caProblems(one, at, facts.length, expected)),
    ...issuingProblems(issuing, expected),
    ...rootProblems(root, rootDer),
  ];
  return problems.length === 0 ? ok({ chainDer: certificatesDer.slice(0, -1), rootDer, issuing, root }) : err(problems);
}

function refuse(message: string, field: string): Result<IssuingChain> {
  return rejected("ISTHMUS_ISSUING_CHAIN", message, field);
}

function problem(field: string, message: string): Problem {
  return { code: "ISTHMUS_ISSUING_CHAIN", field, message };
}

function nameOf(at: number, count: number): string {
  if (at === 0) return "issuing CA";
  return at === count - 1 ? "root" : `intermediate ${at}`;
}

function linkProblems(certificatesDer: readonly Uint8Array[]): readonly Problem[] {
  const chain = certificatesDer.map((der) => new X509Certificate(der));
  return chain.flatMap((certificate, at) => {
    const issuer = chain[at + 1];
    if (issuer === undefined || (certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey))) return [];
    return [problem(nameOf(at, chain.length), "it is not signed by the next certificate of the chain")];
  });
}

/** OpenSSL's strict mode and our own look for the issuer go by key identifiers (RFC 5280 4.2.1.1). */
function keyIdProblems(facts: readonly CertificateFacts[]): readonly Problem[] {
  return facts.flatMap(({ authorityKeyIdHex }, at) => {
    const issuer = facts[at + 1];
    if (issuer === undefined || authorityKeyIdHex === issuer.subjectKeyIdHex) return [];
    return [problem(nameOf(at, facts.length), "its authorityKeyIdentifier is not its issuer's subjectKeyIdentifier")];
  });
}

/** What every CA of the path must say, so that OpenSSL, Node and Envoy accept a workload below it. */
function caProblems(ca: CertificateFacts, at: number, count: number, expected: ChainExpectation): readonly Problem[] {
  const name = nameOf(at, count);
  const found: Problem[] = checkPublicKey(ca.publicKey).map(({ message }) => problem(name, `its key: ${message}`));
  const wrong = (isWrong: boolean, message: string) => {
    if (isWrong) found.push(problem(name, message));
  };
  wrong(ca.version !== 3, "it is no X.509 version 3");
  wrong(weakSignatures.has(ca.signatureOid), "it is signed with SHA-1 or MD5");
  wrong(
    !ca.ca || !ca.criticalOids.includes(extensionOid.basicConstraints),
    "it is no CA (basicConstraints critical, CA:TRUE)",
  );
  wrong(!ca.keyUsages.includes("keyCertSign"), "its keyUsage lacks keyCertSign");
  const below = at + 1; // the cluster CA, and each CA of this chain before it
  const tooShort = ca.pathLength !== undefined && ca.pathLength < below;
  wrong(tooShort, `its pathlen is ${ca.pathLength}; ${below} CAs stand below it`);
  const limited = ca.extendedKeyUsages.length > 0;
  const both = ca.extendedKeyUsages.includes("serverAuth") && ca.extendedKeyUsages.includes("clientAuth");
  wrong(limited && !both, "its extendedKeyUsage forbids serverAuth or clientAuth, which every workload needs");
  const unknown = ca.criticalOids.filter((oid) => !knownCritical.has(oid));
  wrong(unknown.length > 0, `critical extensions that Envoy does not know: ${unknown.join(", ")}`);
  const subjectKeyIsMissing = ca.subjectKeyIdHex === "";
  wrong(subjectKeyIsMissing, "it has no subjectKeyIdentifier, by which paths are built");
  const [from, to] = [new Date(ca.notBeforeMs).toISOString(), new Date(ca.notAfterMs).toISOString()];
  wrong(ca.notBeforeMs > expected.nowMs, `it is not valid before ${from}; compare the clocks`);
  wrong(ca.notAfterMs - expected.nowMs < expected.leastLifeMs, `it ends at ${to}, which is too soon`);
  if (ca.constraints !== undefined)
    wrong(!permitsFleet(ca.constraints, expected.fleetDomain), constraintAdvice(expected));
  return found;
}

function constraintAdvice({ fleetDomain }: ChainExpectation): string {
  return `its nameConstraints exclude names of this fleet: leave them out, or permit URI:${fleetDomain} and URI:.${fleetDomain} only`;
}

/**
 * Identities are URIs whose host is the fleet's domain or below it, which RFC 5280 4.2.1.10 permits with two entries. The hub's
 * own certificate has DNS names and addresses of the operator's choice, so those kinds must not be constrained.
 */
function permitsFleet({ permitted, excluded }: NameConstraints, fleetDomain: string): boolean {
  const untouched = [permitted.dnsNames, permitted.ipRanges, permitted.others, excluded.dnsNames, excluded.ipRanges];
  if (untouched.some((list) => list.length > 0) || excluded.others.length > 0 || excluded.uris.length > 0) return false;
  if (permitted.uris.length === 0) return true;
  return [fleetDomain, `.${fleetDomain}`].every((host) => permitted.uris.includes(host));
}

function issuingProblems(issuing: CertificateFacts, { spkiDer, fleetDomain }: ChainExpectation): readonly Problem[] {
  const found: Problem[] = [];
  if (hexOf(issuing.publicKey.spkiDer) !== hexOf(spkiDer)) {
    found.push(
      problem("issuing CA", "it certifies another key than the one of the hub's request: sign the newest request"),
    );
  }
  if (issuing.subjectEmpty)
    found.push(problem("issuing CA", "it has no subject; an issuer must have one (RFC 5280 4.1.2.6)"));
  const foreign = issuing.names.uris.filter((uri) => uri !== `spiffe://${fleetDomain}`);
  if (foreign.length > 0) found.push(problem("issuing CA", `it claims another identity: ${foreign.join(", ")}`));
  return found;
}

function rootProblems(root: CertificateFacts, rootDer: Uint8Array): readonly Problem[] {
  const certificate = new X509Certificate(rootDer);
  const signsItself = hexOf(root.subjectDer) === hexOf(root.issuerDer) && certificate.verify(certificate.publicKey);
  return signsItself ? [] : [problem("root", "the last certificate does not sign itself: append the root")];
}
