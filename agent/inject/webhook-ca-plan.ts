// When the webhook's small CA and its serving certificate are renewed, and with what overlap. Pure: the state in the Secret and the
// time in, what to do out. A new authority stands in the caBundle for a while before it signs, and an old one stays for
// a while after, so that no API server meets a certificate whose issuer it does not have.
import { backdateMs, validityFrom, type CertificateTemplate, type Validity } from "../../shared/pki/template.ts";
import { noNames } from "../../shared/pki/certificate.ts";
import type { Result } from "../../shared/result.ts";

export interface StoredCertificate {
  readonly keyPem: string;
  readonly certificatePem: string;
  readonly createdAtMs: number;
  readonly notAfterMs: number;
}

export interface WebhookCaState {
  /** Oldest first. */
  readonly authorities: readonly StoredCertificate[];
  readonly serving: StoredCertificate & { readonly issuerPem: string };
}

export interface WebhookCaPlan {
  /** Kept of the authorities there are. */
  readonly keep: readonly StoredCertificate[];
  readonly makeAuthority: boolean;
  /** Who signs a new serving certificate; "new": the authority that is made now; undefined: the present one stays. */
  readonly signWith: StoredCertificate | "new" | undefined;
  /** When to look again. */
  readonly dueMs: number;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
export const authorityTtlMs = 365 * dayMs;
export const servingTtlMs = 30 * dayMs;
/** API servers watch their webhook configuration; minutes would do, an hour survives one that is being upgraded. */
export const overlapMs = hourMs;

function halfLifeMs(certificate: StoredCertificate): number {
  return (certificate.createdAtMs + certificate.notAfterMs) / 2;
}

/** The newest that has been in the bundle long enough; a first one has nobody to wait for. */
function signerOf(live: readonly [StoredCertificate, ...StoredCertificate[]], nowMs: number): StoredCertificate {
  return live.findLast((authority) => nowMs - authority.createdAtMs >= overlapMs) ?? live[0];
}

function newestOf(live: readonly [StoredCertificate, ...StoredCertificate[]]): StoredCertificate {
  return live.at(-1) ?? live[0];
}

export function planWebhookCa(state: WebhookCaState | undefined, nowMs: number): WebhookCaPlan {
  const [first, ...others] = (state?.authorities ?? []).filter((authority) => authority.notAfterMs > nowMs);
  if (state === undefined || first === undefined) {
    return { keep: [], makeAuthority: true, signWith: "new", dueMs: nowMs + overlapMs };
  }
  const { serving } = state;
  const live = [first, ...others] as const;
  const signer = signerOf(live, nowMs);
  const newest = newestOf(live);
  const makeAuthority = nowMs >= halfLifeMs(newest);
  const servingStays = serving.issuerPem === signer.certificatePem && nowMs < halfLifeMs(serving);
  // the certificate served before may still be in use by the other replica for a moment
  const settled = servingStays && nowMs - serving.createdAtMs >= overlapMs;
  const rotating = makeAuthority || newest !== signer || !settled;
  return {
    keep: settled ? live.slice(live.indexOf(signer)) : live,
    makeAuthority,
    signWith: servingStays ? undefined : signer,
    dueMs: rotating ? nowMs + overlapMs / 4 : Math.min(halfLifeMs(newest), halfLifeMs(serving)),
  };
}

/** Constrained to the one name it is for: this key lies in a Secret that more people read than any other CA's. */
export function authorityTemplate(serverName: string, keyId: string, nowMs: number): CertificateTemplate {
  const notAfterMs = Math.floor((nowMs + authorityTtlMs) / 1000) * 1000;
  const validity: Validity = { notBeforeMs: Math.floor((nowMs - backdateMs) / 1000) * 1000, notAfterMs };
  return {
    kind: "root",
    subject: { organization: "isthmus", commonName: `webhook CA ${keyId}` },
    uris: [],
    dnsNames: [serverName],
    ipAddresses: [],
    caPathLength: 0,
    keyUsages: ["keyCertSign", "cRLSign"],
    extendedKeyUsages: [],
    constraints: {
      permitted: { ...noNames, dnsNames: [serverName] },
      excluded: { ...noNames, mailboxes: [""], ipRanges: ["0.0.0.0/0", "::/0"] },
    },
    validity,
  };
}

export function servingTemplate(
  serverName: string,
  nowMs: number,
  issuerNotAfterMs: number,
): Result<CertificateTemplate> {
  const validity = validityFrom(nowMs, servingTtlMs, issuerNotAfterMs);
  if (!validity.ok) return validity;
  const template: CertificateTemplate = {
    kind: "webhook server",
    subject: {},
    uris: [],
    dnsNames: [serverName],
    ipAddresses: [],
    caPathLength: undefined,
    keyUsages: ["digitalSignature"],
    extendedKeyUsages: ["serverAuth"],
    constraints: undefined,
    validity: validity.value,
  };
  return { ok: true, value: template };
}
