// What this replica's proxies trust and use, root by root, for the hub's rotation. Read out of the very bytes that each proxy
// has acknowledged, so that nothing is believed of a push that is only on its way. Cost per report: one look at each stream;
// the content is read once per resource.
import type { RootUse, TrustReport } from "../shared/grpc/fleet-messages.ts";
import { rootOfChain } from "../shared/pki/chain.ts";
import { certificateFingerprint } from "../shared/pki/fingerprint.ts";
import { parseChainPem } from "../shared/pki/pem.ts";
import { decodeJson } from "../shared/wire.ts";
import type { AdsStream } from "./ads/stream.ts";
import type { PodInput } from "./ir/inputs.ts";
import { parseName } from "./xds/names.ts";
import { typeUrls, type EncodedResource } from "./xds/resource.ts";
import { pendingOf } from "./xds/subscription.ts";

/** An Envoy states all its subscriptions at once when it connects: one that has not asked by then holds no secret. */
const ASKING_MS = 5_000;
const MAX_NAMES = 20;
const MAX_UNSERVED = 1_000;

export interface TrustReportInput {
  readonly streams: readonly AdsStream[];
  /** By which root the stream's proxy verified this agent. */
  readonly verifiedBy: (stream: AdsStream) => string | undefined;
  readonly pods: readonly PodInput[];
  readonly rootsDer: readonly Uint8Array[];
  readonly agentRoot: string;
  readonly clusterCaRoot: string;
  readonly svidTtlMs: number;
  readonly nowMs: number;
}

export function trustReport(input: TrustReportInput): TrustReport {
  const { streams, pods, rootsDer, svidTtlMs } = input;
  const seen = streams.map((stream) => ({ name: stream.peer.nodeId, ...seenOf(stream, input) }));
  const bundle = rootsDer.map(certificateFingerprint);
  const named = seen.flatMap(({ secrets }) => (secrets === undefined ? [] : [...secrets.trusted, secrets.root]));
  const roots = new Set([...bundle, input.agentRoot, input.clusterCaRoot, ...named]);
  roots.delete("");
  const served = new Set(streams.map(({ peer }) => peer.podUid));
  const unserved = pods
    .filter(({ meshed, ready, terminating, uid }) => meshed && ready && !terminating && !served.has(uid))
    .map(({ namespace, name }) => `${namespace}/${name}`);
  return {
    proxies: streams.length,
    unserved: unserved.sort().slice(0, MAX_UNSERVED),
    svidTtlMs,
    roots: [...roots].sort().map((root) => rootUse(root, seen, input)),
  };
}

interface Seen {
  readonly name: string;
  /** Undefined: something is on its way to it, or it has refused something. "none": it holds no secret. */
  readonly secrets: Secrets | undefined;
  readonly holdsNone: boolean;
  readonly verifiedBy: string | undefined;
}

interface Secrets {
  /** Roots that everything which verifies peers has. */
  readonly trusted: ReadonlySet<string>;
  /** Root of the proxy's own certificate; empty: it has none, or of a root that is not ours. */
  readonly root: string;
}

function rootUse(root: string, seen: readonly Seen[], input: TrustReportInput): RootUse {
  const lacking = (has: (proxy: Seen) => boolean) => seen.filter((proxy) => !has(proxy)).map(({ name }) => name);
  const untrusting = lacking(({ holdsNone, secrets }) => holdsNone || secrets?.trusted.has(root) === true);
  const notUsing = lacking(({ holdsNone, secrets }) => holdsNone || secrets?.root === root);
  const unproven = lacking(({ verifiedBy }) => verifiedBy === root);
  return {
    root,
    trustedBy: seen.length - untrusting.length,
    usedBy: seen.length - notUsing.length,
    provenBy: seen.length - unproven.length,
    agentCertificate: input.agentRoot === root,
    clusterCa: input.clusterCaRoot === root,
    untrusting: untrusting.slice(0, MAX_NAMES),
    notUsing: notUsing.slice(0, MAX_NAMES),
    unproven: unproven.slice(0, MAX_NAMES),
  };
}

function seenOf(stream: AdsStream, { verifiedBy, rootsDer, nowMs }: TrustReportInput): Omit<Seen, "name"> {
  const { sds } = stream.state.types;
  const pending = pendingOf(sds);
  const settled = sds.awaiting === undefined && pending.updates.length === 0 && pending.removed.length === 0;
  const sound = settled && sds.refused.size === 0 && sds.asked;
  return {
    secrets: sound ? secretsOf(sds.base, rootsDer) : undefined,
    holdsNone: !sds.asked && nowMs - stream.openedAtMs > ASKING_MS,
    verifiedBy: verifiedBy(stream),
  };
}

interface SecretFacts {
  /** Of a validation context. */
  readonly roots?: readonly string[];
  /** Of a certificate. */
  readonly chainDer?: readonly Uint8Array[];
}

const factsOf = new WeakMap<EncodedResource, SecretFacts>();
const secretsBySet = new WeakMap<
  ReadonlyMap<string, EncodedResource>,
  { readonly rootsDer: readonly Uint8Array[]; readonly secrets: Secrets }
>();

/** All streams of a class in step share one map of resources: it is read once. */
function secretsOf(base: ReadonlyMap<string, EncodedResource>, rootsDer: readonly Uint8Array[]): Secrets {
  const known = secretsBySet.get(base);
  if (known?.rootsDer === rootsDer) return known.secrets;
  // another fleet's roots are none of ours, and no rotation of ours changes them
  const facts = [...base.values()].filter(({ name }) => !isForeign(name)).map(readSecret);
  const sets = facts.flatMap(({ roots }) => (roots === undefined ? [] : [roots]));
  const [first = [], ...others] = sets;
  const trusted = new Set(first.filter((root) => others.every((set) => set.includes(root))));
  const chainDer = facts.find((fact) => fact.chainDer !== undefined)?.chainDer ?? [];
  const rootDer = rootOfChain(chainDer, rootsDer);
  const secrets = { trusted, root: rootDer === undefined ? "" : certificateFingerprint(rootDer) };
  secretsBySet.set(base, { rootsDer, secrets });
  return secrets;
}

function isForeign(secret: string): boolean {
  const name = parseName(secret);
  return name.ok && "fleet" in name.value;
}

interface SecretJson {
  readonly validation_context?: { readonly trusted_ca?: { readonly inline_string?: string } };
  readonly tls_certificate?: { readonly certificate_chain?: { readonly inline_string?: string } };
}

function readSecret(resource: EncodedResource): SecretFacts {
  const known = factsOf.get(resource);
  if (known !== undefined) return known;
  const json = decodeJson(typeUrls.sds, resource.bytes) as SecretJson;
  const rootsPem = json.validation_context?.trusted_ca?.inline_string;
  const certificatePem = json.tls_certificate?.certificate_chain?.inline_string;
  const facts: SecretFacts = {
    ...(rootsPem === undefined ? {} : { roots: certificates(rootsPem).map(certificateFingerprint) }),
    ...(certificatePem === undefined ? {} : { chainDer: certificates(certificatePem) }),
  };
  factsOf.set(resource, facts);
  return facts;
}

function certificates(pem: string): readonly Uint8Array[] {
  const chain = parseChainPem(pem);
  return chain.ok ? chain.value : [];
}
