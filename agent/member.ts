// The life of a member: credentials, hub session, mesh, injector and leadership, wired together. Everything here is a level
// object or a task; this file says who is told of what, and holds no rule.
import type { StatusReport } from "../shared/grpc/fleet-messages.ts";
import { runTasks, type Task } from "../shared/lifecycle.ts";
import { certificatePem } from "../shared/pki/pem.ts";
import type { AdminSurface } from "./admin-http.ts";
import { createSwappableCredentials } from "./ads/credentials.ts";
import type { AgentDeps } from "./agent.ts";
import { ackNote, createProblemBook } from "./agent-views.ts";
import { Publisher } from "./hub/publisher.ts";
import { RemoteRegistry } from "./hub/remote-registry.ts";
import { runHubSession, type HubState } from "./hub/session.ts";
import { openAgentCredential, type AgentCredential } from "./identity/agent-credential.ts";
import type { IdentityStore, JoinedIdentity } from "./identity/identity-state.ts";
import { createSvidIssuer, type SvidIssuer } from "./identity/svid-issuer.ts";
import { startInjector } from "./injector.ts";
import { selectExports } from "./ir/exports.ts";
import { watchGatewayAddresses, type GatewayAddresses } from "./kube/gateway-address.ts";
import type { Kube } from "./kube/kube.ts";
import { runLeaseElection } from "./kube/lease-election.ts";
import { openRegistryCopy, type RegistryCopy } from "./kube/registry-copy.ts";
import { createTokenReview } from "./kube/token-review.ts";
import { createLeader, restoredRegistry, type Leader } from "./leader.ts";
import { createMesh, type Mesh, type Settled } from "./mesh.ts";
import { meshInputs, missingSources, type MeshSources } from "./mesh-inputs.ts";
import type { AgentMetrics } from "./metrics.ts";

const AGENT_ACCOUNT = "isthmus-agent";
const GATEWAY_ACCOUNT = "isthmus-gateway";
/** Streams are handed to the other replica over this time when the agent stops: no herd. */
const CLOSE_SPREAD_MS = 1_500;

export interface MemberDeps extends AgentDeps {
  readonly kube: Kube;
  readonly store: IdentityStore;
  readonly metrics: AgentMetrics;
  readonly surface: AdminSurface;
}

/** The levels that change while the member lives; everything else is made once. */
interface Levels {
  hub: HubState;
  leads: () => boolean;
  settled: Settled | undefined;
  adsOpen: boolean;
}

interface Member {
  readonly deps: MemberDeps;
  readonly identity: JoinedIdentity;
  readonly levels: Levels;
  readonly credential: AgentCredential;
  readonly issuer: SvidIssuer;
  readonly remote: RemoteRegistry;
  readonly publisher: Publisher;
  readonly gateways: GatewayAddresses;
  readonly leader: Leader;
  readonly mesh: Mesh;
  readonly sources: MeshSources;
  readonly rootsPem: () => string;
  /** Ends the program with a fault of ours. */
  readonly fault: PromiseWithResolvers<never>;
  readonly statusListeners: Set<() => void>;
}

export async function runMember(deps: MemberDeps, identity: JoinedIdentity, signal: AbortSignal): Promise<void> {
  const { kube, config } = deps;
  const copy = openRegistryCopy({ client: kube.client, namespace: config.namespace });
  const member = await createMember(deps, identity, copy);
  wire(member);
  const injector = await startInjector({
    ...deps,
    membership: identity,
    rootsPem: member.rootsPem,
    onBundle: (pem) => member.leader.webhookBundle(pem),
  });
  await runTasks(signal, [
    hubTask(member),
    { name: "certificates", run: (inner) => member.issuer.run(inner) },
    member.gateways.task,
    injector,
    adsTask(member),
    leadershipTask(member),
    { name: "push", run: (inner) => untilFault(member, inner) },
  ]);
}

async function createMember(deps: MemberDeps, identity: JoinedIdentity, copy: RegistryCopy): Promise<Member> {
  const { kube, config, clock, metrics } = deps;
  const restored = await restoredRegistry(copy);
  const levels: Levels = {
    hub: { connected: false, problem: undefined },
    leads: () => false,
    settled: undefined,
    adsOpen: false,
  };
  const credential = openAgentCredential({ ...deps, initial: identity, mayWrite: () => levels.leads() });
  if (!credential.ok) throw new Error(`the kept identity is refused: ${credential.error[0]?.message ?? ""}`);
  const remote = new RemoteRegistry({ ownCluster: identity.cluster, allowLoopback: false, restored });
  const issuer = createSvidIssuer({ ...deps, clusterCa: () => credential.value.clusterCa(), ttlMs: config.svidTtlMs });
  const fault = Promise.withResolvers<never>();
  const changed = () => member.mesh.pusher.changed();
  const gateways = watchGatewayAddresses(kube, { configured: config.gatewayAddresses, onChange: changed });
  const sources: MeshSources = {
    ...identity,
    ...config,
    kubeSynced: () => kube.synced(),
    kubeInputs: () => kube.inputs(),
    remote: () => (remote.isComplete() ? remote.records() : undefined),
    gateways: () => gateways.current(),
    revokedTrustDomains: () => credential.value.state().bundle.revokedTrustDomains,
  };
  const rootsPem = rootsReader(credential.value);
  const mesh = createMesh({
    ...deps,
    issuer,
    rootsPem,
    inputs: () => meshInputs(sources),
    authenticate: createTokenReview({ client: kube.client, clock }),
    gateway: { namespace: config.namespace, serviceAccount: GATEWAY_ACCOUNT },
    settled: (settled) => onSettled(member, settled),
    fail: fault.reject,
    metrics,
  });
  const leader = createLeader({ kube, copy, membership: identity, rootsPem });
  const publisher = new Publisher(clock);
  const parts = { deps, identity, levels, credential: credential.value, issuer, remote, publisher, gateways, leader };
  const member: Member = { ...parts, mesh, sources, rootsPem, fault, statusListeners: new Set() };
  return member;
}

/** The fleet's roots as PEM, made again only when the bundle is another. */
function rootsReader(credential: AgentCredential): () => string {
  let seen: JoinedIdentity["bundle"] | undefined;
  let pem = "";
  return () => {
    const { bundle } = credential.state();
    if (bundle !== seen) pem = bundle.rootsDer.map(certificatePem).join("");
    seen = bundle;
    return pem;
  };
}

/** Who is told of what. */
function wire(member: Member): void {
  const { deps, mesh, credential, remote, leader, surface } = { ...member, surface: member.deps.surface };
  const keepRegistry = () => {
    const cursor = remote.cursor();
    if (cursor !== undefined) leader.remote({ records: remote.records(), cursor });
  };
  deps.kube.onChange(() => mesh.pusher.changed());
  remote.onChange(() => {
    mesh.pusher.changed();
    keepRegistry();
  });
  credential.onChange(() => mesh.pusher.changed());
  member.publisher.onAnswer(() => tellLeader(member));
  surface.setMissing(missingText(member));
  surface.setAcks((type, listener) =>
    mesh.onAck((event) => {
      if (event.type === type) listener(ackNote(event, performance.timeOrigin + performance.now()));
    }),
  );
  surface.setDebug({
    ir: () => mesh.pusher.ir,
    remote: () => remote.records(),
    watches: () => deps.kube.states(),
    streams: () => mesh.ads.streams().map(({ peer, proxyClass }) => ({ node: peer.nodeId, class: proxyClass?.key })),
    hub: () => member.levels.hub,
    problems: () => allProblems(member),
  });
  mesh.pusher.changed();
}

function missingText({ sources, levels }: Member): string | undefined {
  const missing = [...missingSources(sources), ...(levels.adsOpen ? [] : ["the first configuration for proxies"])];
  return missing.length === 0 ? undefined : `waiting for ${missing.join(", ")}`;
}

function onSettled(member: Member, settled: Settled): void {
  const { levels, publisher, leader, issuer, mesh, deps, remote } = member;
  levels.settled = settled;
  if (levels.leads()) publisher.setDesired(selectExports(settled.inputs));
  tellLeader(member);
  const agent = { namespace: deps.config.namespace, serviceAccount: AGENT_ACCOUNT };
  issuer.retain([...mesh.accounts(), agent]);
  endStreamsOfGonePods(member, settled);
  deps.metrics.problems.set(allProblems(member).length);
  deps.surface.setMissing(missingText(member));
  const cursor = remote.cursor();
  if (cursor !== undefined) leader.remote({ records: remote.records(), cursor });
  for (const listener of member.statusListeners) listener();
}

/** After a push, and after an answer of the hub: what is written of exports follows from both. */
function tellLeader({ levels, publisher, leader }: Member): void {
  if (levels.settled === undefined) return;
  leader.settled(levels.settled, { connected: levels.hub.connected, acknowledged: publisher.held() });
}

/** A pod that is gone must not keep a stream on which its account's key is renewed. */
function endStreamsOfGonePods({ mesh }: Member, { inputs }: Settled): void {
  const alive = new Set(inputs.pods.map((pod) => pod.uid));
  for (const { peer, proxyClass } of mesh.ads.streams()) {
    // a stream without a class belongs to a pod that the watch has not shown yet
    if (proxyClass !== undefined && peer.kind === "sidecar" && !alive.has(peer.podUid)) mesh.ads.endPod(peer.podUid);
  }
}

function allProblems({ levels, mesh, leader, deps, remote }: Member) {
  const built = levels.settled?.problems ?? [];
  return [...mesh.nacks(), ...built, ...deps.kube.problems(), ...leader.problems(), ...remote.problems()];
}

function hubTask(member: Member): Task {
  const { deps, credential, remote, publisher, levels, mesh, statusListeners } = member;
  const book = createProblemBook(() => deps.clock.now());
  const status = (): Omit<
    StatusReport,
    "bundleSequence" | "appliedRevision" | "clusterCaNotAfterMs" | "agentNotAfterMs"
  > => {
    const streams = mesh.ads.streams();
    const inputs = levels.settled?.inputs;
    return {
      agentVersion: deps.config.version,
      pod: deps.config.podName,
      proxies: streams.filter(({ peer }) => peer.kind === "sidecar").length,
      gatewaysReady: streams.filter(({ peer }) => peer.kind === "gateway").length,
      servicesExported: inputs?.exports.length ?? 0,
      servicesImported: new Set(
        remote.records().flatMap((record) => (record.kind === "service" ? [`${record.namespace}/${record.name}`] : [])),
      ).size,
      problems: book(allProblems(member)),
    };
  };
  const onState = (state: HubState) => {
    levels.hub = state;
    deps.metrics.hubConnected.set(state.connected ? 1 : 0);
    mesh.pusher.changed();
  };
  const onStatusChange = (listener: () => void) => {
    statusListeners.add(listener);
    return () => statusListeners.delete(listener);
  };
  return {
    name: "hub session",
    run: (signal) => runHubSession({ ...deps, credential, remote, publisher, status, onStatusChange, onState }, signal),
  };
}

/** Listens with the agent's own SVID, which is replaced without dropping a stream. */
function adsTask({ deps, issuer, mesh, levels, ...member }: Member): Task {
  const account = { namespace: deps.config.namespace, serviceAccount: AGENT_ACCOUNT };
  const run = async (signal: AbortSignal) => {
    const own = () => issuer.svidFor(account.namespace, account.serviceAccount);
    const credentials = createSwappableCredentials(await own());
    const stop = issuer.onChange(({ namespace, serviceAccount }) => {
      if (namespace !== account.namespace || serviceAccount !== account.serviceAccount) return;
      own().then(
        (svid) => credentials.replace(svid),
        (error: unknown) => deps.log.error("the agent's own certificate was not renewed", {}, error),
      );
    });
    await mesh.ads.listen(`[::]:${deps.config.adsPort}`, credentials.credentials);
    levels.adsOpen = true;
    deps.surface.setMissing(missingText({ deps, issuer, mesh, levels, ...member }));
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    stop();
    await mesh.ads.close(CLOSE_SPREAD_MS);
  };
  return { name: "ads", run };
}

function leadershipTask({ deps, levels, publisher, leader, mesh }: Member): Task {
  const { config, metrics } = deps;
  const lead = async (signal: AbortSignal, leads: () => boolean) => {
    levels.leads = leads;
    metrics.leading.set(1);
    mesh.pusher.changed();
    try {
      await runTasks(signal, leader.tasks);
    } finally {
      levels.leads = () => false;
      metrics.leading.set(0);
      publisher.setDesired(undefined);
    }
  };
  const names = { namespace: config.namespace, name: "isthmus-agent", identity: config.podName };
  return {
    name: "leadership",
    run: (signal) => runLeaseElection({ ...names, lead }, { ...deps, client: deps.kube.client }, signal),
  };
}

async function untilFault({ fault }: Member, signal: AbortSignal): Promise<void> {
  const stopped = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  await Promise.race([stopped, fault.promise]);
}
