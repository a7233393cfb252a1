// What a certificate and a certification request say, as plain data. x509.ts reads them out of DER; template.ts, validate.ts
// and the CSR checks decide on them. Types only, so that the deciders need no ASN.1.

export type KeyUsage = "digitalSignature" | "keyCertSign" | "cRLSign";
export type ExtendedKeyUsage = "serverAuth" | "clientAuth";

/** Subtrees by kind. An IP range is CIDR text; the empty string as DNS name or mailbox means "all of them". */
export interface NameSet {
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  readonly mailboxes: readonly string[];
  readonly ipRanges: readonly string[];
  /** Kinds we never use (directory names, other names, ...), by name: present means not ours. */
  readonly others: readonly string[];
}

export interface NameConstraints {
  readonly permitted: NameSet;
  readonly excluded: NameSet;
}

export interface SubjectAltNames {
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly mailboxes: readonly string[];
  readonly others: readonly string[];
}

export type KeyKind = "P-256" | "P-384" | "RSA" | "other";

export interface PublicKeyFacts {
  readonly spkiDer: Uint8Array;
  readonly kind: KeyKind;
  /** Modulus of an RSA key; 0 for others. */
  readonly rsaBits: number;
}

export interface CertificateFacts {
  readonly version: number;
  readonly serialHex: string;
  readonly signatureOid: string;
  readonly issuerDer: Uint8Array;
  readonly subjectDer: Uint8Array;
  readonly subjectEmpty: boolean;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly publicKey: PublicKeyFacts;
  /** OIDs in order; a repeated one is a fault (RFC 5280 4.2). */
  readonly extensionOids: readonly string[];
  readonly criticalOids: readonly string[];
  readonly ca: boolean;
  readonly pathLength: number | undefined;
  readonly keyUsages: readonly string[];
  readonly extendedKeyUsages: readonly string[];
  readonly names: SubjectAltNames;
  readonly constraints: NameConstraints | undefined;
  readonly subjectKeyIdHex: string;
  readonly authorityKeyIdHex: string;
}

export interface RequestFacts {
  readonly publicKey: PublicKeyFacts;
  /** Proof of possession: the request is signed by the key it asks for. */
  readonly signatureValid: boolean;
}

export const extensionOid = {
  subjectKeyId: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  nameConstraints: "2.5.29.30",
  authorityKeyId: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
} as const;

export const noNames: NameSet = { uris: [], dnsNames: [], mailboxes: [], ipRanges: [], others: [] };
