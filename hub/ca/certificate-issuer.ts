// What signs for the fleet below a root: a key of the hub's own, an issuing CA under an offline root, or somebody else's
// service. Asynchronous, because the key may be behind a token or a network; the chain it answers may be longer than one.
// Called by authority.ts and server-certificate.ts, which say what a certificate shall hold; who may have it is settled before.
import type { CertificateFacts } from "../../shared/pki/certificate.ts";
import { issueCertificate } from "../../shared/pki/issue.ts";
import type { KeyProvider } from "../../shared/pki/key.ts";
import { createLeafIssuer } from "../../shared/pki/leaf-issuer.ts";
import { isP256 } from "../../shared/pki/leaf-pattern.ts";
import type { SigningPool } from "../../shared/pki/signing-pool.ts";
import { validityFrom, type CertificateTemplate, type Validity } from "../../shared/pki/template.ts";
import { ok, type Result } from "../../shared/result.ts";

export interface IssueOrder {
  /** The subject's public key, after proof of possession. */
  readonly spkiDer: Uint8Array;
  readonly nowMs: number;
  /** As long as asked for; the issuer may grant less, never beyond its own end. */
  readonly ttlMs: number;
  /** What the certificate shall say, given the validity that is granted. */
  readonly template: (validity: Validity) => CertificateTemplate;
}

/** The hub's own CA below a root that is elsewhere. */
export interface IssuingCaState {
  readonly validity: Validity;
  /** Its upstream renews it when the hub asks; else a person does. */
  readonly renewsItself: boolean;
  /** Why the last attempt failed; undefined: it did not. */
  readonly failure: string | undefined;
}

export interface CertificateIssuer {
  /** Leaf first, then its issuers up to but without the root. Released only after it was parsed back and checked. */
  issue(order: IssueOrder): Promise<Result<readonly Uint8Array[]>>;
  /** Absent: the root itself signs. */
  readonly issuingCa?: () => IssuingCaState;
}

/** The certificate whose key signs, as the signer sees it. */
export interface SigningCertificate {
  readonly key: KeyProvider;
  readonly facts: CertificateFacts;
  /** The signing certificate and what issued it, without the root: empty where the root itself signs. */
  readonly chainDer: readonly Uint8Array[];
}

/** Agents' certificates on the hot path; CAs, the hub's own, and other kinds of keys by @peculiar/x509, one at a time. */
export function keyedIssuer({ key, facts, chainDer }: SigningCertificate, pool: SigningPool): CertificateIssuer {
  const leaves = createLeafIssuer({ kind: "agent", key, issuer: facts });
  return {
    issue: async ({ spkiDer, nowMs, ttlMs, template }) => {
      const validity = validityFrom(nowMs, ttlMs, facts.notAfterMs);
      if (!validity.ok) return validity;
      const wanted = template(validity.value);
      const isHot = leaves.ok && wanted.kind === "agent" && isP256(spkiDer);
      const issued = isHot
        ? await leaves.value.issue(wanted, spkiDer, pool)
        : await pool.inTurn((turn) => issueCertificate(wanted, spkiDer, { key, certificate: facts }, turn));
      return issued.ok ? ok([issued.value, ...chainDer]) : issued;
    },
  };
}
