// Signatures along a chain, checked with node:crypto: leaf first, then issuers, ended by one of the given roots.
// Called on every chain that is received or loaded. Names, usages and constraints are validate.ts's part.
import { X509Certificate } from "node:crypto";
import { ok, rejected, type Result } from "../result.ts";

export function verifyChain(
  chainDer: readonly Uint8Array[],
  rootsDer: readonly Uint8Array[],
  nowMs: number,
): Result<true> {
  const refuse = (message: string) => rejected("ISTHMUS_CHAIN", message, "chain");
  const chain = chainDer.map((der) => new X509Certificate(der));
  const roots = rootsDer.map((der) => new X509Certificate(der));
  const last = chain.at(-1);
  const root = roots.find((candidate) => last !== undefined && issued(candidate, last));
  if (last === undefined || root === undefined) return refuse("it does not end at a root of this fleet");
  for (const [at, certificate] of [...chain, root].entries()) {
    const issuer = chain[at + 1];
    if (issuer !== undefined && !issued(issuer, certificate))
      return refuse(`certificate ${at} is not signed by the next`);
    if (nowMs < certificate.validFromDate.getTime())
      return refuse(`certificate ${at} is not valid yet: compare the clocks`);
    if (nowMs >= certificate.validToDate.getTime()) return refuse(`certificate ${at} ended at ${certificate.validTo}`);
  }
  return ok(true);
}

function issued(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}
