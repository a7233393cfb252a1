// The hot path: leaves under one issuer, made by the pattern of leaf-pattern.ts, off the event loop when there are many. Before
// anything of a pattern is released, one of its leaves is parsed by @peculiar/x509 and checked against the whole profile; every
// later one is read back octet by octet against that pattern. Called by agent/identity/cluster-ca.ts and hub/ca.
import { rejected, ok, type Result } from "../result.ts";
import type { CertificateFacts } from "./certificate.ts";
import type { KeyProvider } from "./key.ts";
import { finishLeaf, leafNames, leafPattern, tbsOf, type LeafKind } from "./leaf-pattern.ts";
import type { MadeLeaf } from "./signing-batch.ts";
import type { SigningPool } from "./signing-pool.ts";
import type { CertificateTemplate } from "./template.ts";
import { checkCertificate, validated } from "./validate.ts";
import { parseCertificate } from "./x509.ts";

export interface LeafIssuer {
  /** `template` of this issuer's kind; `spkiDer` of a P-256 key. */
  issue(template: CertificateTemplate, spkiDer: Uint8Array, pool: SigningPool): Promise<Result<Uint8Array>>;
  /** Makes the key too. Only where the issuer's own key is in this process. */
  issueWithKey(template: CertificateTemplate, pool: SigningPool): Promise<Result<MadeLeaf>>;
}

export interface LeafIssuerDeps {
  readonly kind: LeafKind;
  readonly key: KeyProvider;
  readonly issuer: CertificateFacts;
}

export function createLeafIssuer({ kind, key, issuer }: LeafIssuerDeps): Result<LeafIssuer> {
  if (issuer.publicKey.kind !== "P-256") return rejected("ISTHMUS_KEY_KIND", "an issuer of leaves has a P-256 key");
  const pattern = leafPattern(kind, issuer);
  const signer = key.local === undefined ? undefined : { key: key.local, pattern };
  let isProven = false;

  const make = async ({ template, spkiDer }: Wanted, pool: SigningPool): Promise<Result<MadeLeaf>> => {
    const names = template.kind === kind ? leafNames(template) : undefined;
    if (names === undefined)
      return rejected("ISTHMUS_CERTIFICATE", `the hot path of ${kind} leaves makes nothing else`);
    if (signer !== undefined) return pool.makeLeaf(signer, { names, spkiDer });
    if (spkiDer === undefined) throw new Error("a key that is elsewhere signs for keys that are brought along");
    const tbs = tbsOf(pattern, names, spkiDer);
    if (!tbs.ok) return tbs;
    const leaf = finishLeaf(pattern, names, spkiDer, { tbs: tbs.value, signature: await key.sign(tbs.value) });
    return leaf.ok ? ok({ der: new Uint8Array(leaf.value), keyPem: "" }) : leaf;
  };
  const makeProven = async (wanted: Wanted, pool: SigningPool): Promise<Result<MadeLeaf>> => {
    const made = await make(wanted, pool);
    if (!made.ok || isProven) return made;
    const checked = checkWhole(made.value.der, wanted.template, issuer);
    isProven = checked.ok;
    return checked.ok ? made : checked;
  };

  return ok({
    issue: async (template, spkiDer, pool) => {
      const made = await makeProven({ template, spkiDer }, pool);
      return made.ok ? ok(made.value.der) : made;
    },
    issueWithKey: (template, pool) => makeProven({ template, spkiDer: undefined }, pool),
  });
}

interface Wanted {
  readonly template: CertificateTemplate;
  readonly spkiDer: Uint8Array | undefined;
}

function checkWhole(der: Uint8Array, template: CertificateTemplate, issuer: CertificateFacts): Result<true> {
  const facts = parseCertificate(der);
  return facts.ok ? validated(checkCertificate(facts.value, template, issuer)) : facts;
}
