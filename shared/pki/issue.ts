// The one way a certificate comes into being: built, parsed back, checked against its template, and only then released.
// Called by the hub's authority and the agent's cluster CA.
import { err, ok, type Result } from "../result.ts";
import type { Turn } from "./signing-pool.ts";
import type { CertificateTemplate } from "./template.ts";
import { checkCertificate } from "./validate.ts";
import { buildCertificate, type Issuer } from "./x509-builder.ts";
import { parseCertificate } from "./x509.ts";

export async function issueCertificate(
  template: CertificateTemplate,
  subjectSpkiDer: Uint8Array,
  issuer: Issuer,
  turn: Turn = noTurn,
): Promise<Result<Uint8Array>> {
  const der = await buildCertificate(template, subjectSpkiDer, issuer);
  await turn();
  const facts = parseCertificate(der);
  if (!facts.ok) return facts;
  await turn();
  const problems = checkCertificate(facts.value, template, issuer.certificate ?? facts.value);
  return problems.length === 0 ? ok(der) : err(problems);
}

/** For whoever issues one at a time: nobody waits. */
function noTurn(): Promise<void> {
  return Promise.resolve();
}
