// Chains that come from elsewhere: signatures link by link up to a root (node:crypto), then the first certificate against the
// profile that it should have. Called by agents on everything the hub or a Secret gives them.
import { X509Certificate } from "node:crypto";
import { err, ok, rejected, type Result } from "../result.ts";
import type { CertificateFacts } from "./certificate.ts";
import { hexOf } from "./hex.ts";
import type { CertificateTemplate, Validity } from "./template.ts";
import { checkCertificate } from "./validate.ts";
import { parseCertificate } from "./x509.ts";

export interface ReceivedChain {
  /** Leaf first, without the root. */
  readonly chainDer: readonly Uint8Array[];
  readonly rootsDer: readonly Uint8Array[];
  /** The key that we asked for. */
  readonly spkiDer: Uint8Array;
  /** What the first certificate must say, given its own validity. */
  readonly template: (validity: Validity) => CertificateTemplate;
}

/** The first certificate's facts if the whole chain is what we asked for. Whether it is still valid: `checkTimes`. */
export function checkReceived({ chainDer, rootsDer, spkiDer, template }: ReceivedChain): Result<CertificateFacts> {
  const path = completedPath(chainDer, rootsDer);
  if (!path.ok) return path;
  const [first, second] = path.value;
  const subject = parseCertificate(first);
  if (!subject.ok) return subject;
  const issuer = parseCertificate(second);
  if (!issuer.ok) return issuer;
  if (hexOf(subject.value.publicKey.spkiDer) !== hexOf(spkiDer)) {
    return rejected("ISTHMUS_CHAIN", "it certifies another key than ours", "chain");
  }
  const problems = checkCertificate(subject.value, template(subject.value), issuer.value);
  return problems.length === 0 ? subject : err(problems);
}

/** Not yet or no longer valid, with both times: the usual cause is a clock. */
export function checkTimes({ notBeforeMs, notAfterMs }: Validity, nowMs: number): Result<true> {
  if (nowMs >= notBeforeMs && nowMs < notAfterMs) return ok(true);
  const [from, to, now] = [notBeforeMs, notAfterMs, nowMs].map((timeMs) => new Date(timeMs).toISOString());
  return rejected("ISTHMUS_CHAIN_TIME", `valid from ${from} to ${to}, but this machine's clock says ${now}`, "chain");
}

/** Which of these roots signed the last certificate of a chain; undefined: none of them, or it is unreadable. */
export function rootOfChain(chainDer: readonly Uint8Array[], rootsDer: readonly Uint8Array[]): Uint8Array | undefined {
  const lastDer = chainDer.at(-1);
  if (lastDer === undefined) return undefined;
  try {
    const last = new X509Certificate(lastDer);
    return rootsDer.find((der) => issued(new X509Certificate(der), last));
  } catch {
    return undefined; // what cannot be read was signed by nobody we know
  }
}

type Path = readonly [Uint8Array, Uint8Array, ...Uint8Array[]];

/** The chain with the root that ends it: each certificate signed by the next. */
function completedPath(chainDer: readonly Uint8Array[], rootsDer: readonly Uint8Array[]): Result<Path> {
  const refuse = (message: string) => rejected("ISTHMUS_CHAIN", message, "chain");
  try {
    const chain = chainDer.map((der) => new X509Certificate(der));
    const last = chain.at(-1);
    const root = rootsDer.find((der) => last !== undefined && issued(new X509Certificate(der), last));
    const [first, ...rest] = chainDer;
    if (root === undefined || first === undefined) return refuse("it does not end at a root of this fleet");
    const broken = chain.findIndex((certificate, at) => at > 0 && !issued(certificate, chain[at - 1] ?? certificate));
    if (broken > 0) return refuse(`certificate ${broken - 1} is not signed by the next one`);
    return ok([first, rest[0] ?? root, ...rest.slice(1), ...(rest.length > 0 ? [root] : [])]);
  } catch {
    return refuse("one of its certificates is unreadable");
  }
}

function issued(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}
