// The cluster's own CA: its key was made here and never leaves. Opened from the kept identity; signs workload leaves only,
// within its trust domain and never beyond its own end. Called by svid-issuer.ts.
import { parseSpiffeId, trustDomainOf, type TrustDomain } from "../../shared/ids.ts";
import { checkReceived, rootOfChain } from "../../shared/pki/chain.ts";
import { certificateFingerprint } from "../../shared/pki/fingerprint.ts";
import { keyProviderFromPem, spkiOfKeyPem } from "../../shared/pki/key.ts";
import { createLeafIssuer } from "../../shared/pki/leaf-issuer.ts";
import { certificatePem, parseChainPem } from "../../shared/pki/pem.ts";
import type { SigningPool } from "../../shared/pki/signing-pool.ts";
import { clusterCaTemplate, validityFrom, workloadTemplate, type Validity } from "../../shared/pki/template.ts";
import { ok, rejected, type Result } from "../../shared/result.ts";
import type { JoinedIdentity } from "./identity-state.ts";

/** A workload's certificate, as SDS hands it out. */
export interface Svid extends Validity {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Leaf, cluster CA, issuers; without the root. */
  readonly chainPem: string;
  readonly keyPem: string;
  /** Fingerprint of the root that the chain ends at. */
  readonly root: string;
}

export interface SvidRequest {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly ttlMs: number;
  readonly nowMs: number;
}

export interface ClusterCa {
  readonly trustDomain: TrustDomain;
  /** Fingerprint of the root that it chains to. */
  readonly root: string;
  readonly chainPem: string;
  readonly validity: Validity;
  issueSvid(request: SvidRequest, pool: SigningPool): Promise<Result<Svid>>;
}

export type ClusterCaMaterial = Pick<
  JoinedIdentity,
  "cluster" | "fleetDomain" | "clusterCaKeyPem" | "clusterCaChainPem" | "bundle"
>;

/** Refuses a chain that is not this cluster's CA, whoever put it into the Secret. An expired one opens; it signs nothing. */
export function openClusterCa(material: ClusterCaMaterial): Result<ClusterCa> {
  const { cluster, fleetDomain, clusterCaKeyPem, clusterCaChainPem, bundle } = material;
  const chain = parseChainPem(clusterCaChainPem);
  if (!chain.ok) return chain;
  const certificate = checkReceived({
    chainDer: chain.value,
    rootsDer: bundle.rootsDer,
    spkiDer: spkiOfKeyPem(clusterCaKeyPem),
    template: (validity) => clusterCaTemplate(cluster, fleetDomain, validity),
  });
  if (!certificate.ok) return certificate;
  const rootDer = rootOfChain(chain.value, bundle.rootsDer);
  if (rootDer === undefined) return rejected("ISTHMUS_CHAIN", "it does not end at a root of this fleet", "chain");
  const trustDomain = trustDomainOf(cluster, fleetDomain);
  const leaves = createLeafIssuer({
    kind: "workload",
    key: keyProviderFromPem(clusterCaKeyPem),
    issuer: certificate.value,
  });
  if (!leaves.ok) return leaves;
  const root = certificateFingerprint(rootDer);
  return ok({
    trustDomain,
    root,
    chainPem: clusterCaChainPem,
    validity: certificate.value,
    issueSvid: async ({ namespace, serviceAccount, ttlMs, nowMs }, pool) => {
      const validity = validityFrom(nowMs, ttlMs, certificate.value.notAfterMs);
      if (!validity.ok) return validity;
      const template = workloadTemplate({ trustDomain, namespace, serviceAccount }, validity.value);
      // the strict parser is asked before a name is signed: nothing in it may mean another path or host
      const identity = parseSpiffeId(template.uris[0] ?? "");
      if (!identity.ok) return identity;
      if (identity.value.path.length !== 4) {
        return rejected("ISTHMUS_SPIFFE_ID", "a namespace or service account with a slash is not a name");
      }
      const made = await leaves.value.issueWithKey(template, pool);
      if (!made.ok) return made;
      const { der, keyPem } = made.value;
      const chainPem = certificatePem(der) + clusterCaChainPem;
      return ok({ namespace, serviceAccount, chainPem, keyPem, root, ...validity.value });
    },
  });
}
