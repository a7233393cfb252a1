// Who this member is, as it is kept: keys, chains, the hub and the trust bundle. Kept in one Secret by agent/kube, in a file
// by a site; both see texts under names. Holds private keys: pass it on whole, never to a log.
import { parseClusterName, parseFleetDomain, type ClusterName, type FleetDomain } from "../../shared/ids.ts";
import type { FederatedFleet, TrustBundle } from "../../shared/pki/bundle.ts";
import { ok, rejected, type Result } from "../../shared/result.ts";

/** Keys are kept before they are sent: a join whose reply was lost is repeated with the same ones, also by a new process. */
export interface JoiningIdentity {
  readonly stage: "joining";
  readonly tokenId: string;
  readonly agentKeyPem: string;
  readonly clusterCaKeyPem: string;
  /** Of a member that joins anew: what it is until that has succeeded. */
  readonly former?: JoinedIdentity;
}

export interface JoinedIdentity {
  readonly stage: "joined";
  readonly cluster: ClusterName;
  readonly fleetDomain: FleetDomain;
  /** `host:port` */
  readonly hub: string;
  readonly agentKeyPem: string;
  /** Leaf first, without the root. */
  readonly agentChainPem: string;
  readonly clusterCaKeyPem: string;
  readonly clusterCaChainPem: string;
  readonly bundle: TrustBundle;
  /** Keys whose signed bundles are taken: the first one came over the pinned connection of the join. */
  readonly knownSigners: readonly Uint8Array[];
  /** The token that it came by. Absent: it was kept before that was noted. */
  readonly tokenId?: string;
}

export type IdentityState = JoiningIdentity | JoinedIdentity;

/** Who this member is at this moment, also while it tries to join anew. */
export function heldIdentity(kept: IdentityState | undefined): JoinedIdentity | undefined {
  return kept?.stage === "joining" ? kept.former : kept;
}

export interface IdentityStore {
  load(): Promise<IdentityState | undefined>;
  /** Resolves when the state survives a crash; rejects when somebody else changed it meanwhile. */
  save(state: IdentityState): Promise<void>;
}

/** The state as texts under names: the `stringData` of a Secret. */
export function encodeIdentity(state: IdentityState): Readonly<Record<string, string>> {
  if (state.stage === "joining") {
    const { former, ...texts } = state;
    return { ...texts, ...(former === undefined ? {} : { former: JSON.stringify(encodeIdentity(former)) }) };
  }
  const { bundle, knownSigners, ...texts } = state;
  return { ...texts, bundle: encodeBundle(bundle), knownSigners: JSON.stringify(knownSigners.map(base64)) };
}

export function decodeIdentity(texts: Readonly<Record<string, string>>): Result<IdentityState> {
  const missing: string[] = [];
  const text = (name: string) => {
    const value = texts[name] ?? "";
    if (value === "") missing.push(name);
    return value;
  };
  const keys = { agentKeyPem: text("agentKeyPem"), clusterCaKeyPem: text("clusterCaKeyPem") };
  if (texts["stage"] === "joining") {
    const former = decodeFormer(texts["former"]);
    if (!former.ok) return former;
    const state: JoiningIdentity = { stage: "joining", tokenId: text("tokenId"), ...keys, ...former.value };
    return missing.length === 0 ? ok(state) : incomplete(missing);
  }
  const [cluster, fleetDomain] = [parseClusterName(text("cluster")), parseFleetDomain(text("fleetDomain"))];
  const chains = { agentChainPem: text("agentChainPem"), clusterCaChainPem: text("clusterCaChainPem") };
  const [hub, bundleText, signers] = [text("hub"), text("bundle"), text("knownSigners")];
  if (missing.length > 0) return incomplete(missing);
  if (!cluster.ok) return cluster;
  if (!fleetDomain.ok) return fleetDomain;
  const bundle = decodeBundle(bundleText);
  if (!bundle.ok) return bundle;
  const knownSigners = (JSON.parse(signers) as string[]).map(bytes);
  return ok({
    stage: "joined",
    cluster: cluster.value,
    fleetDomain: fleetDomain.value,
    hub,
    ...keys,
    ...chains,
    bundle: bundle.value,
    knownSigners,
    ...(texts["tokenId"] === undefined ? {} : { tokenId: texts["tokenId"] }),
  });
}

function decodeFormer(text: string | undefined): Result<Pick<JoiningIdentity, "former">> {
  if (text === undefined) return ok({});
  const former = decodeIdentity(JSON.parse(text) as Record<string, string>);
  if (!former.ok) return former;
  return former.value.stage === "joined" ? ok({ former: former.value }) : incomplete(["former"]);
}

function incomplete(missing: readonly string[]): ReturnType<typeof rejected> {
  return rejected("ISTHMUS_IDENTITY", `the kept identity is incomplete: ${missing.join(", ")} missing`);
}

/** Fixed key order: an equal bundle is an equal text, so a Secret is not rewritten for nothing. */
function encodeBundle(bundle: TrustBundle): string {
  const { sequence, fleetDomain, rootsDer, revokedTrustDomains, signerSpkiDer, signature, federated = [] } = bundle;
  return JSON.stringify({
    sequence,
    fleetDomain,
    rootsDer: rootsDer.map(base64),
    revokedTrustDomains,
    signerSpkiDer: base64(signerSpkiDer),
    signature: base64(signature),
    ...(federated.length === 0 ? {} : { federated: federated.map(encodeFleet) }),
  });
}

function encodeFleet({ fleetDomain, rootsDer }: FederatedFleet): FederatedText {
  return { fleetDomain, rootsDer: rootsDer.map(base64) };
}

interface FederatedText {
  readonly fleetDomain: string;
  readonly rootsDer: readonly string[];
}

interface BundleText extends Pick<TrustBundle, "sequence" | "fleetDomain" | "revokedTrustDomains"> {
  readonly rootsDer: readonly string[];
  readonly signerSpkiDer: string;
  readonly signature: string;
  readonly federated?: readonly FederatedText[];
}

/** Its form is ours, its content signed: a changed one fails its signature, so only the syntax is asked here. */
function decodeBundle(text: string): Result<TrustBundle> {
  try {
    const { rootsDer, signerSpkiDer, signature, federated = [], ...rest } = JSON.parse(text) as BundleText;
    const fleets = federated.map((fleet) => ({ ...fleet, rootsDer: fleet.rootsDer.map(bytes) }));
    return ok({
      ...rest,
      ...(fleets.length === 0 ? {} : { federated: fleets }),
      rootsDer: rootsDer.map(bytes),
      signerSpkiDer: bytes(signerSpkiDer),
      signature: bytes(signature),
    });
  } catch {
    return rejected("ISTHMUS_IDENTITY", "the kept trust bundle is unreadable", "bundle");
  }
}

function base64(value: Uint8Array): string {
  return Buffer.from(value).toString("base64");
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}
