// A root that the hub does not hold: the hub has an issuing CA below it, with a key of its own, and somebody else signs that CA:
// a person with an offline root, Vault, cert-manager. One RootSource for all of them; who signs is an `UpstreamSigner`.
// Files per root: `roots/<id>.csr` (the request), `roots/<id>.chain.pem` (issuing CA first, without the root), `roots/<id>.pem`.
import { join } from "node:path";
import { rm } from "node:fs/promises";
import { UserError } from "../../shared/errors.ts";
import type { FleetDomain } from "../../shared/ids.ts";
import type { CertificateFacts } from "../../shared/pki/certificate.ts";
import { causeChain } from "../../shared/log.ts";
import { hexOf } from "../../shared/pki/hex.ts";
import type { KeyProvider } from "../../shared/pki/key.ts";
import { chainPem, parseChainPem, requestPem } from "../../shared/pki/pem.ts";
import { fileExists, readSecretFile, writeSecretFile } from "../../shared/pki/secret-file.ts";
import type { SigningPool } from "../../shared/pki/signing-pool.ts";
import { issuingCaTemplate, renewalDueMs } from "../../shared/pki/template.ts";
import { buildCaRequest, keyIdOf } from "../../shared/pki/x509-builder.ts";
import { parseCertificate } from "../../shared/pki/x509.ts";
import type { Problem, Result } from "../../shared/result.ts";
import { keyedIssuer, type CertificateIssuer, type IssueOrder, type IssuingCaState } from "./certificate-issuer.ts";
import { checkIssuingChain, type IssuingChain } from "./issuing-chain.ts";
import type { KeyStore } from "./key-store.ts";
import { writeRootCertificate, type RootSource } from "./root.ts";

const purpose = "issuing";

/** Whoever signs the issuing CA. How long it lives is a matter of its configuration and of the upstream's rules. */
export interface UpstreamSigner {
  /** PEM, issuing CA first, root last. Throws UserError ISTHMUS_UPSTREAM when it cannot be reached or refuses. */
  sign(requestPem: string): Promise<string>;
}

export interface IssuingCaDeps {
  readonly dataDir: string;
  readonly keys: KeyStore;
  readonly fleetDomain: FleetDomain;
  readonly now: () => number;
  /** See ChainExpectation. */
  readonly leastLifeMs: number;
  readonly pool: SigningPool;
  /** Undefined: a person carries the request to the root and the chain back. */
  readonly upstream: UpstreamSigner | undefined;
}

/** An upstream that is away is asked again after this; what is held goes on signing meanwhile. */
const retryMs = 60_000;

export interface IssuingCaSource extends RootSource {
  /** Where the request lies that somebody has to sign. */
  requestFile(id: string): string;
  /** Keeps what came back, after all checks. */
  importChain(id: string, pem: string): Promise<IssuingChain>;
}

export function issuingCas(deps: IssuingCaDeps): IssuingCaSource {
  const files = filesIn(deps.dataDir);
  const accept = (id: string, pem: string) => acceptChain(deps, id, pem);
  const ask = async (id: string, upstream: UpstreamSigner) =>
    accept(id, await upstream.sign(await readSecretFile(files.request(id))));
  return {
    requestFile: files.request,
    importChain: accept,
    prepare: async ({ id }) => {
      if (!(await fileExists(files.request(id)))) await makeRequest(deps, id);
      if (deps.upstream !== undefined) await ask(id, deps.upstream);
    },
    issuer: async (id) => {
      const key = await deps.keys.openSigner(id, purpose);
      const held = await openChain(files.chain(id), key, id);
      const { upstream } = deps;
      if (upstream === undefined) {
        const state: IssuingCaState = { validity: held.facts, renewsItself: false, failure: undefined };
        return { ...keyedIssuer({ key, ...held }, deps.pool), issuingCa: () => state };
      }
      const renew = async () => openAccepted(await ask(id, upstream));
      return renewingIssuer({ key, first: held, renew, now: deps.now, pool: deps.pool });
    },
    remove: async (id) => {
      await deps.keys.remove(id, purpose);
      for (const path of [files.request(id), files.chain(id)]) await rm(path, { force: true });
    },
  };
}

function filesIn(dataDir: string) {
  const file = (id: string, end: string) => join(dataDir, "roots", `${id}.${end}`);
  return { request: (id: string) => file(id, "csr"), chain: (id: string) => file(id, "chain.pem") };
}

async function makeRequest({ dataDir, keys, fleetDomain, now }: IssuingCaDeps, id: string): Promise<void> {
  const key = await keys.createSigner(id, purpose);
  const template = issuingCaTemplate(fleetDomain, hexOf(keyIdOf(key.spkiDer)).slice(0, 8), {
    notBeforeMs: now(),
    notAfterMs: now(),
  });
  await writeSecretFile(filesIn(dataDir).request(id), requestPem(await buildCaRequest(template, key)), 0o600);
}

/** The chain first, the root last: a root certificate on disk means that all before it is there. */
async function acceptChain(deps: IssuingCaDeps, id: string, pem: string): Promise<IssuingChain> {
  const { dataDir, keys, fleetDomain, now, leastLifeMs } = deps;
  const key = await keys.openSigner(id, purpose);
  const certificates = parseChainPem(pem);
  if (!certificates.ok) throw refusedChain(certificates.error);
  const checked = checkIssuingChain(certificates.value, {
    fleetDomain,
    spkiDer: key.spkiDer,
    nowMs: now(),
    leastLifeMs,
  });
  if (!checked.ok) throw refusedChain(checked.error);
  const chain = checked.value;
  const rootFile = join(dataDir, "roots", `${id}.pem`);
  if (await fileExists(rootFile)) {
    const held = parseChainPem(await readSecretFile(rootFile));
    if (!held.ok || hexOf(held.value[0] ?? new Uint8Array()) !== hexOf(chain.rootDer)) {
      throw new UserError(
        "ISTHMUS_ISSUING_CHAIN",
        "the chain ends at another root than the one that the fleet trusts",
        {
          hint: "a new root needs a rotation: isthmus rotate root --to ...",
        },
      );
    }
  }
  await writeSecretFile(filesIn(dataDir).chain(id), chainPem(chain.chainDer), 0o600);
  await writeRootCertificate(dataDir, id, chain.rootDer);
  return chain;
}

function refusedChain(problems: readonly Problem[]): UserError {
  const text = problems
    .map(({ field, message }) => (field === undefined ? message : `${field}: ${message}`))
    .join("; ");
  return new UserError("ISTHMUS_ISSUING_CHAIN", text, {
    hint: "sign the request again; docs/issuers.md has the commands",
  });
}

interface HeldChain {
  readonly facts: CertificateFacts;
  readonly chainDer: readonly Uint8Array[];
}

function openAccepted({ issuing, chainDer }: IssuingChain): HeldChain {
  return { facts: issuing, chainDer };
}

async function openChain(path: string, key: KeyProvider, id: string): Promise<HeldChain> {
  const chain = parseChainPem(await readSecretFile(path));
  const first = chain.ok ? chain.value[0] : undefined;
  const facts = first === undefined ? undefined : parseCertificate(first);
  if (!chain.ok || facts?.ok !== true || hexOf(facts.value.publicKey.spkiDer) !== hexOf(key.spkiDer)) {
    throw new UserError("ISTHMUS_ROOT_FILE", `the issuing CA of root ${id} does not belong to its key`, {
      hint: "restore the data folder from one backup",
    });
  }
  return { facts: facts.value, chainDer: chain.value };
}

interface Renewing {
  readonly key: KeyProvider;
  readonly first: HeldChain;
  readonly renew: () => Promise<HeldChain>;
  readonly now: () => number;
  readonly pool: SigningPool;
}

/** Renewed by its upstream at half of its life, under the same key and root: nobody below notices but by a newer chain. */
function renewingIssuer({ key, first, renew, now, pool }: Renewing): CertificateIssuer {
  let held = first;
  let askedMs = -Infinity;
  let failure: string | undefined;
  const issueWith = (order: IssueOrder) => keyedIssuer({ key, ...held }, pool).issue(order);
  return {
    issuingCa: () => ({ validity: held.facts, renewsItself: true, failure }),
    issue: async (order): Promise<Result<readonly Uint8Array[]>> => {
      const isDue = renewalDueMs(held.facts, 0.5) <= now() && askedMs + retryMs <= now();
      if (!isDue) return issueWith(order);
      askedMs = now();
      const hasEnded = held.facts.notAfterMs <= now();
      try {
        held = await renew();
        failure = undefined;
      } catch (error) {
        failure = causeChain(error).join(": ");
        // while it lives, what is held signs; the reason is told once it matters
        if (hasEnded || !(error instanceof UserError)) throw error;
      }
      return issueWith(order);
    },
  };
}
