// A joined member for tests without a hub: signed by a root of its own, with lifetimes as told.
import { bundleStatement, type TrustBundle } from "../../../shared/pki/bundle.ts";
import { issueCertificate } from "../../../shared/pki/issue.ts";
import { generateKeyPem, keyProviderFromPem, spkiOfKeyPem, type KeyProvider } from "../../../shared/pki/key.ts";
import { certificatePem } from "../../../shared/pki/pem.ts";
import {
  agentTemplate,
  clusterCaTemplate,
  validityFrom,
  type CertificateTemplate,
} from "../../../shared/pki/template.ts";
import { parseRequest } from "../../../shared/pki/x509.ts";
import { east, fleet, makeRoot, type TestCa } from "../../../shared/pki/testing/fleet-pki.ts";
import type { JoinedIdentity } from "../identity-state.ts";
import type { Renew } from "../agent-credential.ts";

const yearMs = 365 * 24 * 3_600_000;

export interface IdentityOptions {
  readonly nowMs: number;
  readonly clusterCaTtlMs?: number;
  readonly agentTtlMs?: number;
  readonly root?: TestCa;
  readonly signer?: KeyProvider;
}

export function testRoot(nowMs: number): Promise<TestCa> {
  return makeRoot({ notBeforeMs: nowMs - yearMs, notAfterMs: nowMs + 5 * yearMs });
}

async function issue(root: TestCa, template: CertificateTemplate, spkiDer: Uint8Array): Promise<Uint8Array> {
  const issued = await issueCertificate(template, spkiDer, { key: root.key, certificate: root.facts });
  if (!issued.ok) throw new Error(JSON.stringify(issued.error));
  return issued.value;
}

function validity(nowMs: number, ttlMs: number) {
  const found = validityFrom(nowMs, ttlMs, nowMs + yearMs);
  if (!found.ok) throw new Error(JSON.stringify(found.error));
  return found.value;
}

export async function signedBundle(root: TestCa, signer: KeyProvider, sequence = 1): Promise<TrustBundle> {
  const statement = {
    sequence,
    rootsDer: [root.der],
    signerSpkiDer: signer.spkiDer,
    fleetDomain: fleet,
    revokedTrustDomains: [],
  };
  return { ...statement, signature: await signer.sign(Buffer.from(bundleStatement(statement))) };
}

export async function joinedIdentity(options: IdentityOptions): Promise<JoinedIdentity> {
  const { nowMs, clusterCaTtlMs = yearMs, agentTtlMs = yearMs } = options;
  const root = options.root ?? (await testRoot(nowMs));
  const signer = options.signer ?? keyProviderFromPem(generateKeyPem());
  const [agentKeyPem, clusterCaKeyPem] = [generateKeyPem(), generateKeyPem()];
  const agent = agentTemplate(east, fleet, validity(nowMs, agentTtlMs));
  const clusterCa = clusterCaTemplate(east, fleet, validity(nowMs, clusterCaTtlMs));
  return {
    stage: "joined",
    cluster: east,
    fleetDomain: fleet,
    hub: "127.0.0.1:1",
    agentKeyPem,
    agentChainPem: certificatePem(await issue(root, agent, spkiOfKeyPem(agentKeyPem))),
    clusterCaKeyPem,
    clusterCaChainPem: certificatePem(await issue(root, clusterCa, spkiOfKeyPem(clusterCaKeyPem))),
    bundle: await signedBundle(root, signer),
    knownSigners: [signer.spkiDer],
  };
}

/** A hub's Renew over the same root. */
export function renewFrom(root: TestCa, nowMs: () => number, ttlMs: number): Renew {
  const sign = async (csrDer: Uint8Array, template: CertificateTemplate) => {
    const request = await parseRequest(csrDer);
    if (!request.ok) throw new Error(JSON.stringify(request.error));
    return issue(root, template, request.value.publicKey.spkiDer);
  };
  return async ({ agentCsrDer, clusterCaCsrDer }) => {
    const life = validity(nowMs(), ttlMs);
    const agent = await sign(agentCsrDer, agentTemplate(east, fleet, life));
    if (clusterCaCsrDer.length === 0) return { agentChainDer: [agent], clusterCaChainDer: [] };
    return {
      agentChainDer: [agent],
      clusterCaChainDer: [await sign(clusterCaCsrDer, clusterCaTemplate(east, fleet, life))],
    };
  };
}
