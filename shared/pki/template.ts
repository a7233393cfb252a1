// What each kind of certificate says: root, cluster CA, workload leaf, agent and hub server, as plain data (RFC 5280 profile).
// Called by the hub's authority and the agent's cluster CA; x509-builder.ts turns a template into DER, validate.ts checks
// the result against it. Pure: time and randomness are arguments.
import {
  agentSpiffeId,
  hubSpiffeId,
  trustDomainOf,
  workloadSpiffeId,
  type ClusterName,
  type FleetDomain,
  type WorkloadName,
} from "../ids.ts";
import { ok, rejected, type Result } from "../result.ts";
import { noNames, type ExtendedKeyUsage, type KeyUsage, type NameConstraints } from "./certificate.ts";

/** In order; the last is the most specific. Empty: the names are in the SANs alone, which are then critical (4.1.2.6). */
export interface DistinguishedName {
  readonly organization?: string;
  readonly unit?: string;
  readonly commonName?: string;
}

export interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export interface CertificateTemplate {
  readonly kind: "root" | "issuing CA" | "cluster CA" | "workload" | "agent" | "hub server" | "webhook server";
  readonly subject: DistinguishedName;
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  /** undefined: an end entity. */
  readonly caPathLength: number | undefined;
  readonly keyUsages: readonly KeyUsage[];
  readonly extendedKeyUsages: readonly ExtendedKeyUsage[];
  readonly constraints: NameConstraints | undefined;
  readonly validity: Validity;
}

/** Clocks differ: every TLS stack measured refuses a certificate that is not valid yet, so it is valid five minutes ago. */
export const backdateMs = 5 * 60_000;

const secondMs = 1000;
const caUsages: readonly KeyUsage[] = ["keyCertSign", "cRLSign"];
const leafUsages: readonly KeyUsage[] = ["digitalSignature"];

/**
 * From five minutes ago until `ttlMs` from now, never beyond the issuer's end, in whole seconds as X.509 has them. An issuer
 * that has ended is refused: SPIRE #7199 signed identities that were born expired and logged nothing.
 */
export function validityFrom(nowMs: number, ttlMs: number, issuerNotAfterMs: number): Result<Validity> {
  const notAfterMs = floorSecond(Math.min(nowMs + ttlMs, issuerNotAfterMs));
  if (notAfterMs <= nowMs) {
    return rejected("ISTHMUS_ISSUER_EXPIRED", `the issuer's certificate ended at ${isoTime(issuerNotAfterMs)}`);
  }
  return ok({ notBeforeMs: floorSecond(nowMs - backdateMs), notAfterMs });
}

/**
 * When a certificate is renewed: at half of its life since it was issued, 10 % of that earlier or later (`random` in [0, 1)),
 * so that what was issued together is not renewed together.
 */
export function renewalDueMs(validity: Validity, random: number): number {
  const issuedAtMs = Math.min(validity.notBeforeMs + backdateMs, validity.notAfterMs);
  const halfMs = (validity.notAfterMs - issuedAtMs) / 2;
  return issuedAtMs + halfMs * (0.9 + 0.2 * random);
}

/** `keyId` tells two roots of one fleet apart in every tool that prints subjects; path building goes by key identifiers. */
export function rootTemplate(fleet: FleetDomain, keyId: string, validity: Validity): CertificateTemplate {
  return {
    kind: "root",
    subject: { organization: fleet, commonName: `root ${keyId}` },
    uris: [`spiffe://${fleet}`],
    dnsNames: [],
    ipAddresses: [],
    caPathLength: 1,
    keyUsages: caUsages,
    extendedKeyUsages: [],
    constraints: undefined,
    validity,
  };
}

/**
 * The hub's own CA below a root that it does not hold. What it really says is its issuer's choice (issuing-chain.ts checks that);
 * this is what the hub asks for.
 */
export function issuingCaTemplate(fleet: FleetDomain, keyId: string, validity: Validity): CertificateTemplate {
  return {
    ...rootTemplate(fleet, keyId, validity),
    kind: "issuing CA",
    subject: { organization: fleet, commonName: `issuing CA ${keyId}` },
  };
}

/** A stolen cluster CA must not speak for another member: the constraints are critical and cover every kind of name we use. */
export function clusterCaTemplate(cluster: ClusterName, fleet: FleetDomain, validity: Validity): CertificateTemplate {
  const trustDomain = trustDomainOf(cluster, fleet);
  return {
    kind: "cluster CA",
    subject: { organization: fleet, unit: "cluster CA", commonName: cluster },
    uris: [`spiffe://${trustDomain}`],
    dnsNames: [],
    ipAddresses: [],
    caPathLength: 0,
    keyUsages: caUsages,
    extendedKeyUsages: [],
    constraints: {
      permitted: { ...noNames, uris: [trustDomain], dnsNames: [trustDomain] },
      excluded: { ...noNames, mailboxes: [""], ipRanges: ["0.0.0.0/0", "::/0"] },
    },
    validity,
  };
}

/** Exactly one URI SAN (X509-SVID section 2); the DNS SAN is for clients that match those only, such as Contour. */
export function workloadTemplate(name: WorkloadName, validity: Validity): CertificateTemplate {
  const dnsName = workloadDnsName(name);
  return {
    kind: "workload",
    subject: {},
    uris: [workloadSpiffeId(name)],
    dnsNames: dnsName === undefined ? [] : [dnsName],
    ipAddresses: [],
    caPathLength: undefined,
    keyUsages: leafUsages,
    extendedKeyUsages: ["serverAuth", "clientAuth"],
    constraints: undefined,
    validity,
  };
}

/** Towards the hub only: its host is the fleet's, so no cluster CA can mint one, and it serves nothing. */
export function agentTemplate(cluster: ClusterName, fleet: FleetDomain, validity: Validity): CertificateTemplate {
  return {
    kind: "agent",
    subject: {},
    uris: [agentSpiffeId(cluster, fleet)],
    dnsNames: [],
    ipAddresses: [],
    caPathLength: undefined,
    keyUsages: leafUsages,
    extendedKeyUsages: ["clientAuth"],
    constraints: undefined,
    validity,
  };
}

export interface ServerNames {
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
}

/** Agents go by the URI; the DNS and IP names are for people's tools. */
export function hubServerTemplate(fleet: FleetDomain, names: ServerNames, validity: Validity): CertificateTemplate {
  return {
    kind: "hub server",
    subject: {},
    uris: [hubSpiffeId(fleet)],
    dnsNames: names.dnsNames,
    ipAddresses: names.ipAddresses,
    caPathLength: undefined,
    keyUsages: leafUsages,
    extendedKeyUsages: ["serverAuth"],
    constraints: undefined,
    validity,
  };
}

const dnsLabel = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * A service account's name may have 253 characters and long labels: then it has no DNS name, and its URI alone speaks. It may have
 * dots, too, and is still read in one way: the namespace is the one label before the trust domain.
 */
export function workloadDnsName({ serviceAccount, namespace, trustDomain }: WorkloadName): string | undefined {
  const text = `${serviceAccount}.${namespace}.${trustDomain}`;
  return text.length <= 253 && text.split(".").every((label) => dnsLabel.test(label)) ? text : undefined;
}

function floorSecond(timeMs: number): number {
  return Math.floor(timeMs / secondMs) * secondMs;
}

function isoTime(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
