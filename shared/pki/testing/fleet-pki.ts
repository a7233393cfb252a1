// A small PKI for tests: root, cluster CA and whatever leaf a test wants to mint with the cluster CA's real key.
import type { ClusterName, FleetDomain } from "../../ids.ts";
import type { CertificateFacts } from "../certificate.ts";
import { generateKeyPem, keyProviderFromPem, type KeyProvider } from "../key.ts";
import { clusterCaTemplate, rootTemplate, type CertificateTemplate, type Validity } from "../template.ts";
import { buildCertificate } from "../x509-builder.ts";
import { parseCertificate } from "../x509.ts";

export const fleet = "acme.mesh" as FleetDomain;
export const east = "east" as ClusterName;

export const hourMs = 3_600_000;

export function validFor(ttlMs: number, nowMs = Date.now()): Validity {
  const second = Math.floor(nowMs / 1000) * 1000;
  return { notBeforeMs: second - 300_000, notAfterMs: second + ttlMs };
}

export interface TestCa {
  readonly keyPem: string;
  readonly key: KeyProvider;
  readonly der: Uint8Array;
  readonly facts: CertificateFacts;
}

export function factsOf(der: Uint8Array): CertificateFacts {
  const facts = parseCertificate(der);
  if (!facts.ok) throw new Error(JSON.stringify(facts.error));
  return facts.value;
}

export async function makeCa(template: CertificateTemplate, issuer?: TestCa): Promise<TestCa> {
  const keyPem = generateKeyPem();
  const key = keyProviderFromPem(keyPem);
  const der = await buildCertificate(template, key.spkiDer, {
    key: issuer?.key ?? key,
    certificate: issuer?.facts,
  });
  return { keyPem, key, der, facts: factsOf(der) };
}

export function makeRoot(validity = validFor(1000 * hourMs)): Promise<TestCa> {
  return makeCa(rootTemplate(fleet, "test", validity));
}

export function makeClusterCa(root: TestCa, cluster: ClusterName, validity = validFor(100 * hourMs)): Promise<TestCa> {
  return makeCa(clusterCaTemplate(cluster, fleet, validity), root);
}

export interface TestLeaf {
  readonly der: Uint8Array;
  readonly keyPem: string;
}

/** Signs whatever it is told to: what a thief of the issuer's key could do. */
export async function mint(issuer: TestCa, template: CertificateTemplate): Promise<TestLeaf> {
  const keyPem = generateKeyPem();
  const { spkiDer } = keyProviderFromPem(keyPem);
  return { der: await buildCertificate(template, spkiDer, { key: issuer.key, certificate: issuer.facts }), keyPem };
}
