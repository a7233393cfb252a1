// The serving CA of the agent's webhook: the cluster CA's name constraints forbid `*.svc`, so the API server trusts this one by
// the caBundle instead. Both replicas share it through a Secret; whoever finds it due renews it, and the other takes it over.
// Only carries the plan out (webhook-ca-plan.ts); never writes the caBundle itself.
import type { Clock } from "../../shared/clock.ts";
import type { CertificateTemplate } from "../../shared/pki/template.ts";
import { issueCertificate } from "../../shared/pki/issue.ts";
import { generateKeyPem, keyProviderFromPem, spkiOfKeyPem, spkiPin } from "../../shared/pki/key.ts";
import { certificatePem, parseChainPem } from "../../shared/pki/pem.ts";
import { parseCertificate } from "../../shared/pki/x509.ts";
import type { Result } from "../../shared/result.ts";
import { fieldOf } from "../kube/json.ts";
import { readObject, type FieldReader } from "../kube/parse/field-reader.ts";
import {
  authorityTemplate,
  planWebhookCa,
  servingTemplate,
  type StoredCertificate,
  type WebhookCaState,
} from "./webhook-ca-plan.ts";
import type { ServingCertificate } from "./webhook-server.ts";

/** One Secret with optimistic concurrency, as agent/kube/secret-store.ts gives it: `version` is its resourceVersion. */
export interface WebhookCaStore {
  load(): Promise<{ readonly texts: Readonly<Record<string, string>>; readonly version: string } | undefined>;
  /** `version` undefined: must not exist yet. */
  save(texts: Readonly<Record<string, string>>, version: string | undefined): Promise<{ readonly saved: boolean }>;
}

/** The Secret's one key. */
export const webhookCaKey = "webhookCa";

export interface WebhookTrust {
  /** For `clientConfig.caBundle`: every authority that may have signed. */
  readonly caBundlePem: string;
  readonly certificate: ServingCertificate;
  /** When to ask again. */
  readonly dueMs: number;
}

export interface WebhookCaDeps {
  readonly store: WebhookCaStore;
  readonly clock: Pick<Clock, "now">;
  /** `isthmus-agent.isthmus-system.svc`: the one name under which the API server calls. */
  readonly serverName: string;
}

/** Two replicas start together: each loses at most a few rounds to the other. */
const MAX_ROUNDS = 8;
const MAX_PEM = 8 * 1024;
/** The other replica may renew at any time: look at least as often as a quarter of the overlap. */
const LOOK_MS = 15 * 60_000;

function valueOf<T>(result: Result<T>, what: string): T {
  if (result.ok) return result.value;
  throw new Error(`${what}: ${result.error.map((problem) => problem.message).join("; ")}`);
}

function readStored(field: FieldReader): StoredCertificate {
  const time = { min: 0, max: Number.MAX_SAFE_INTEGER };
  return {
    keyPem: field.at("keyPem").text({ maxLength: MAX_PEM }),
    certificatePem: field.at("certificatePem").text({ maxLength: MAX_PEM }),
    createdAtMs: field.at("createdAtMs").integer(time),
    notAfterMs: field.at("notAfterMs").integer(time),
  };
}

/** undefined when it cannot be read: a CA that nothing but this webhook trusts is simply made again. */
function parseState(text: string): WebhookCaState | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (fieldOf(value, "version") !== 1) return undefined;
  const state = readObject(value, (root): WebhookCaState => {
    const serving = root.at("serving").map();
    return {
      authorities: root.at("authorities").list({ max: 16, required: true }).map(readStored),
      serving: { ...readStored(serving), issuerPem: serving.at("issuerPem").text({ maxLength: MAX_PEM }) },
    };
  });
  return state.ok ? state.value : undefined;
}

function stored(template: CertificateTemplate, keyPem: string, der: Uint8Array, nowMs: number): StoredCertificate {
  return { keyPem, certificatePem: certificatePem(der), createdAtMs: nowMs, notAfterMs: template.validity.notAfterMs };
}

async function makeAuthority({ serverName }: WebhookCaDeps, nowMs: number): Promise<StoredCertificate> {
  const keyPem = generateKeyPem();
  const key = keyProviderFromPem(keyPem);
  const template = authorityTemplate(serverName, spkiPin(key.spkiDer).slice(-8), nowMs);
  const der = await issueCertificate(template, key.spkiDer, { key, certificate: undefined });
  return stored(template, keyPem, valueOf(der, "webhook CA"), nowMs);
}

async function makeServing(
  { serverName }: WebhookCaDeps,
  authority: StoredCertificate,
  nowMs: number,
): Promise<WebhookCaState["serving"]> {
  const [authorityDer] = valueOf(parseChainPem(authority.certificatePem), "webhook CA");
  if (authorityDer === undefined) throw new Error("webhook CA without certificate");
  const issuer = {
    key: keyProviderFromPem(authority.keyPem),
    certificate: valueOf(parseCertificate(authorityDer), "webhook CA"),
  };
  const template = valueOf(servingTemplate(serverName, nowMs, authority.notAfterMs), "webhook certificate");
  const keyPem = generateKeyPem();
  const der = await issueCertificate(template, spkiOfKeyPem(keyPem), issuer);
  const certificate = stored(template, keyPem, valueOf(der, "webhook certificate"), nowMs);
  return { ...certificate, issuerPem: authority.certificatePem };
}

async function nextState(
  deps: WebhookCaDeps,
  state: WebhookCaState | undefined,
  nowMs: number,
): Promise<{ readonly state: WebhookCaState; readonly changed: boolean; readonly dueMs: number }> {
  const plan = planWebhookCa(state, nowMs);
  const made = plan.makeAuthority ? [await makeAuthority(deps, nowMs)] : [];
  const authorities = [...plan.keep, ...made];
  const signer = plan.signWith === "new" ? made[0] : plan.signWith;
  const serving = signer === undefined ? state?.serving : await makeServing(deps, signer, nowMs);
  if (serving === undefined) throw new Error("a plan without state always signs");
  const changed = made.length > 0 || serving !== state?.serving || authorities.length !== state.authorities.length;
  return { state: { authorities, serving }, changed, dueMs: plan.dueMs };
}

function trustOf({ authorities, serving }: WebhookCaState, dueMs: number): WebhookTrust {
  return {
    caBundlePem: authorities.map((authority) => authority.certificatePem).join(""),
    certificate: { keyPem: serving.keyPem, chainPem: serving.certificatePem },
    dueMs,
  };
}

/** The state both replicas share, renewed first where it is due. Call at the start, at `dueMs`, and when the Secret changes. */
export async function ensureWebhookTrust(deps: WebhookCaDeps): Promise<WebhookTrust> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const known = await deps.store.load();
    const next = await nextState(deps, parseState(known?.texts[webhookCaKey] ?? ""), deps.clock.now());
    if (!next.changed) return trustOf(next.state, next.dueMs);
    const text = JSON.stringify({ version: 1, ...next.state });
    const { saved } = await deps.store.save({ [webhookCaKey]: text }, known?.version);
    if (saved) return trustOf(next.state, next.dueMs);
  }
  throw new Error(`the Secret of the webhook CA was changed by somebody else ${MAX_ROUNDS} times in a row`);
}

/** Keeps `onTrust` told of the present trust until the signal ends it. A failed round is thrown: the task's owner restarts it. */
export async function runWebhookCa(
  deps: WebhookCaDeps & { readonly clock: Clock },
  onTrust: (trust: WebhookTrust) => void,
  signal: AbortSignal,
): Promise<void> {
  let told = "";
  for (;;) {
    const trust = await ensureWebhookTrust(deps);
    const said = trust.caBundlePem + trust.certificate.chainPem;
    if (said !== told) onTrust(trust);
    told = said;
    await deps.clock.sleep(Math.min(Math.max(trust.dueMs - deps.clock.now(), 1_000), LOOK_MS), signal);
  }
}
