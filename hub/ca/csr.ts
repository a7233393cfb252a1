// Which certification requests the authority signs. Pure: it decides on facts that shared/pki/x509.ts read. Of a request only
// the public key counts; names come from the authenticated caller (CVE-2026-4740: a renewal whose CSR was believed).
import type { RequestFacts } from "../../shared/pki/certificate.ts";
import { checkPublicKey } from "../../shared/pki/validate.ts";
import type { Problem } from "../../shared/result.ts";

export function checkRequest(request: RequestFacts): readonly Problem[] {
  const problems = [...checkPublicKey(request.publicKey)];
  if (!request.signatureValid) {
    problems.push({
      code: "ISTHMUS_CSR_PROOF",
      field: "signature",
      message: "no proof of possession: the request is not signed (SHA-256 or better) by the key it asks for",
    });
  }
  return problems;
}

/** One key has one owner: signed for two clusters it would let either speak for the other. */
export function checkKeyOwner(cluster: string, owner: string): readonly Problem[] {
  if (owner === cluster) return [];
  return [
    {
      code: "ISTHMUS_KEY_OF_OTHER_CLUSTER",
      field: "publicKey",
      message: "this key was signed for another cluster; make a new one",
    },
  ];
}
