// The life of a member: credentials, hub session, mesh and leadership, wired together on its platform. Everything here is a
// level object or a task; this file says who is told of what, and holds no rule.
import type { Clock } from "../shared/clock.ts";
import { UserError } from "../shared/errors.ts";
import { trustDomainOf } from "../shared/ids.ts";
import { runTasks, type Task } from "../shared/lifecycle.ts";
import type { Log } from "../shared/log.ts";
import { createSigningPool, type SigningPool } from "../shared/pki/signing-pool.ts";
import type { RegistryRecord } from "../shared/registry.ts";
import type { Problem } from "../shared/result.ts";
import type { AdminSurface } from "./admin-http.ts";
import { adsPortTask, type AdsPortTask } from "./ads-port.ts";
import { agentStatus } from "./agent-status.ts";
import { ackNote, createProblemBook } from "./agent-views.ts";
import { createAnswers } from "./explain/answer.ts";
import { createFailingWorkloads, type FailingWorkloads } from "./failing-workloads.ts";
import { skewProblems } from "./hub/clock-skew.ts";
import { cutOffAfter, type CutOff } from "./hub/cut-off.ts";
import { Publisher } from "./hub/publisher.ts";
import { restoredRegistry } from "./hub/registry-copy.ts";
import { refusedProblems } from "./hub/refused-records.ts";
import { RemoteRegistry } from "./hub/remote-registry.ts";
import { runHubSession, type HubState } from "./hub/session.ts";
import { accountNameProblems } from "./identity/account-names.ts";
import { openAgentCredential, type AgentCredential } from "./identity/agent-credential.ts";
import {
  certificateProblems,
  certificatesOf,
  livesOver,
  watchAges,
  type HeldCertificates,
} from "./identity/certificate-ages.ts";
import type { IdentityStore, JoinedIdentity } from "./identity/identity-state.ts";
import { foreignFleetsReader, rootsReader } from "./identity/roots-pem.ts";
import { createSvidIssuer, type SvidIssuer } from "./identity/svid-issuer.ts";
import { selectExports } from "./ir/exports.ts";
import { createMesh, type Mesh, type Settled } from "./mesh.ts";
import { meshInputs, missingSources, type MeshSources } from "./mesh-inputs.ts";
import type { AgentMetrics } from "./metrics.ts";
import { createPolicyCopies } from "./policy-copies.ts";
import type { Leader, Platform, Service } from "./platform.ts";
import { awaitNewToken } from "./rejoining.ts";

const AGENT_ACCOUNT = "isthmus-agent";
const GATEWAY_ACCOUNT = "isthmus-gateway";

export interface MemberConfig {
  /** Namespace of the agent's and the gateway's accounts. */
  readonly namespace: string;
  /** This replica, as it shows in the fleet's status. */
  readonly podName: string;
  readonly version: string;
  /** `host:port` */
  readonly adsListen: string;
  readonly svidTtlMs: number;
  readonly permissive: boolean;
  /** Whether workloads may call what is no service of the mesh. */
  readonly egress: boolean;
  /** Whether requests are counted by pod. */
  readonly podLabel: boolean;
  /** Members whose policy is copied here; `*`: every member's. */
  readonly policyFrom: readonly string[];
  readonly region: string;
  readonly zone: string;
  /** Where the token was that it came by, and where one is looked for once it has left. Undefined: nowhere. */
  readonly tokenFile: string | undefined;
}

export interface MemberDeps {
  readonly config: MemberConfig;
  readonly platform: Platform;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly store: IdentityStore;
  readonly metrics: AgentMetrics;
  readonly surface: AdminSurface;
}

/** Of a member that is cut off: the others neither call it nor answer, and its gateway takes no peer. */
const noRecords: readonly RegistryRecord[] = [];

/** The levels that change while the member lives; everything else is made once. */
interface Levels {
  hub: HubState;
  cutOff: CutOff;
  /** Of this clock against the hub's, as last told. */
  skewMs: number;
  leads: () => boolean;
  settled: Settled | undefined;
  adsOpen: boolean;
}

interface Member {
  readonly deps: MemberDeps;
  readonly identity: JoinedIdentity;
  readonly levels: Levels;
  readonly credential: AgentCredential;
  readonly pool: SigningPool;
  readonly issuer: SvidIssuer;
  readonly remote: RemoteRegistry;
  readonly publisher: Publisher;
  readonly leader: Leader;
  readonly service: Service;
  readonly mesh: Mesh;
  readonly sources: MeshSources;
  readonly failing: FailingWorkloads;
  readonly heldCertificates: HeldCertificates;
  /** Ends the program with a fault of ours. */
  readonly fault: PromiseWithResolvers<never>;
  readonly statusListeners: Set<() => void>;
}

export async function runMember(deps: MemberDeps, identity: JoinedIdentity, signal: AbortSignal): Promise<void> {
  const pool = createSigningPool();
  try {
    const member = await createMember(deps, identity, pool);
    wire(member);
    const platformTasks = await member.service.start();
    const ads = adsTask(member);
    await runTasks(signal, [
      hubTask(member, ads),
      { name: "certificates", run: (inner) => member.issuer.run(inner) },
      { name: "ages", run: (inner) => watchAges({ ...deps, held: member.heldCertificates }, inner) },
      ...platformTasks,
      member.failing.task,
      ads,
      leadershipTask(member),
      rejoinTask(member),
      { name: "push", run: (inner) => untilFault(member, inner) },
    ]);
  } finally {
    await pool.close();
  }
}

async function createMember(deps: MemberDeps, identity: JoinedIdentity, pool: SigningPool): Promise<Member> {
  const { platform, config, clock, metrics } = deps;
  const restored = await restoredRegistry(platform.registryCopy);
  const levels: Levels = {
    hub: { connected: false, problem: undefined },
    cutOff: undefined,
    skewMs: 0,
    leads: () => false,
    settled: undefined,
    adsOpen: false,
  };
  const credential = openAgentCredential({ ...deps, initial: identity, mayWrite: () => levels.leads() });
  if (!credential.ok) throw unusableIdentity(credential.error);
  const { allowLoopback } = platform;
  const remote = new RemoteRegistry({ ownCluster: identity.cluster, allowLoopback, restored });
  const clusterCa = () => credential.value.clusterCa();
  const issuer = createSvidIssuer({ ...deps, clusterCa, pool, ttlMs: config.svidTtlMs });
  const fault = Promise.withResolvers<never>();
  const failing = createFailingWorkloads({ ...deps, changed: () => mesh.pusher.changed() });
  const sources: MeshSources = {
    ...identity,
    ...config,
    platform,
    copies: createPolicyCopies(),
    asTheyAnswer: (own) => failing.asTheyAnswer(own),
    remote: () => {
      if (levels.cutOff !== undefined) return noRecords;
      return remote.isComplete() ? remote.records() : undefined;
    },
    revokedTrustDomains: () => credential.value.state().bundle.revokedTrustDomains,
    foreignFleets: foreignFleetsReader(credential.value),
  };
  const rootsPem = rootsReader(credential.value);
  const mesh = createMesh({
    ...deps,
    issuer,
    rootsPem,
    inputs: () => meshInputs(sources),
    authenticate: platform.authenticate,
    gateway: { namespace: config.namespace, serviceAccount: GATEWAY_ACCOUNT },
    podLabel: config.podLabel,
    settled: (settled) => onSettled(member, settled),
    onAnswers: ({ podUid }, answers) => failing.heard(podUid, answers),
    fail: fault.reject,
    metrics,
  });
  const { cluster, fleetDomain } = identity;
  const service = platform.serve({ cluster, fleetDomain, rootsPem });
  const publisher = new Publisher(clock);
  const parts = { deps, identity, levels, credential: credential.value, pool, issuer, remote, publisher, service };
  const { leader } = service;
  const heldCertificates = certificatesOf(credential.value, issuer);
  metrics.setCertificateLives(() => livesOver(heldCertificates(), clock.now()));
  const statusListeners = new Set<() => void>();
  const member: Member = { ...parts, leader, mesh, sources, failing, heldCertificates, fault, statusListeners };
  return member;
}

/** Most likely the root was rotated, or the member cut off, while it was away for longer than anybody waited. */
function unusableIdentity([problem]: readonly Problem[]): UserError {
  const message = `the kept certificates are not of this fleet any more: ${problem?.message ?? "unreadable"}`;
  return new UserError("ISTHMUS_IDENTITY_REFUSED", message, {
    hint: "let this member join again: isthmus token create NAME --rejoin, then its agent with the new token",
  });
}

/** Who is told of what. */
function wire(member: Member): void {
  const { deps, mesh, credential, remote, leader, surface } = { ...member, surface: member.deps.surface };
  const keepRegistry = () => {
    const cursor = remote.cursor();
    if (cursor !== undefined) leader.remote({ records: remote.records(), cursor });
  };
  deps.platform.onChange(() => mesh.pusher.changed());
  remote.onChange(() => {
    mesh.pusher.changed();
    keepRegistry();
  });
  credential.onChange(() => {
    mesh.pusher.changed();
    member.issuer.clusterCaChanged();
  });
  mesh.onAck(({ type }) => {
    if (type === "sds" && credential.state().bundle.rootsDer.length > 1) tellStatus(member);
  });
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
    sources: () => deps.platform.states(),
    streams: () => mesh.ads.streams().map(({ peer, proxyClass }) => ({ node: peer.nodeId, class: proxyClass?.key })),
    hub: () => member.levels.hub,
    problems: () => allProblems(member),
  });
  mesh.pusher.changed();
}

function missingText({ sources, levels }: Member): string | undefined {
  const served = levels.adsOpen && levels.settled !== undefined;
  const missing = [...missingSources(sources), ...(served ? [] : ["the first configuration for proxies"])];
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
  tellStatus(member);
}

/** The report to the hub may say something else. */
function tellStatus({ statusListeners }: Member): void {
  for (const listener of statusListeners) listener();
}

/** After a push, and after an answer of the hub: what is written of exports follows from both. */
function tellLeader({ levels, publisher, leader }: Member): void {
  if (levels.settled === undefined) return;
  const refused = refusedProblems(publisher.refused());
  leader.settled(levels.settled, { connected: levels.hub.connected, acknowledged: publisher.held(), refused });
}

/** A pod that is gone must not keep a stream on which its account's key is renewed. */
function endStreamsOfGonePods({ mesh }: Member, { inputs }: Settled): void {
  const alive = new Set(inputs.pods.map((pod) => pod.uid));
  for (const { peer, proxyClass } of mesh.ads.streams()) {
    // a stream without a class belongs to a pod that the watch has not shown yet
    if (proxyClass !== undefined && peer.kind === "sidecar" && !alive.has(peer.podUid)) mesh.ads.endPod(peer.podUid);
  }
}

function allProblems(member: Member): readonly Problem[] {
  const { levels, mesh, leader, deps, remote, sources, publisher } = member;
  const built = levels.settled?.problems ?? [];
  const { platform } = deps;
  const located = built.map((problem) => platform.located(problem));
  const cutOff = levels.cutOff === undefined ? [] : [levels.cutOff];
  const aging = certificateProblems(member.heldCertificates(), deps.clock.now());
  const { cluster, fleetDomain } = member.identity;
  const names = accountNameProblems(mesh.accounts(), trustDomainOf(cluster, fleetDomain));
  const own = [...cutOff, ...skewProblems(levels.skewMs), ...aging, ...mesh.nacks(), ...names];
  const ofCopies = [
    ...sources.copies.problems(),
    ...refusedProblems(publisher.refused()),
    ...member.failing.problems(),
  ];
  return [...own, ...located, ...platform.problems(), ...leader.problems(), ...remote.problems(), ...ofCopies];
}

function hubTask(member: Member, { verifiedBy }: AdsPortTask): Task {
  const { deps, credential, remote, publisher, levels, mesh, statusListeners } = member;
  const book = createProblemBook(() => deps.clock.now());
  const status = () =>
    agentStatus({
      version: deps.config.version,
      pod: deps.config.podName,
      inputs: levels.settled?.inputs,
      records: remote.records(),
      problems: book(allProblems(member)),
      streams: mesh.ads.streams(),
      verifiedBy,
      rootsDer: credential.state().bundle.rootsDer,
      agentRoot: credential.agentRoot(),
      // else a rotation could go on between the hub's answer and the moment in which it is used
      clusterCaRoot: credential.isRenewing() ? "" : credential.clusterCa().root,
      svidTtlMs: deps.config.svidTtlMs,
      nowMs: deps.clock.now(),
    });
  const onState = (state: HubState) => {
    levels.hub = state;
    levels.cutOff = cutOffAfter(levels.cutOff, state);
    deps.metrics.hubConnected.set(state.connected ? 1 : 0);
    deps.metrics.cutOff.set(levels.cutOff === undefined ? 0 : 1);
    mesh.pusher.changed();
  };
  const onSkew = (ms: number) => {
    if (skewProblems(levels.skewMs).length === 0 && skewProblems(ms).length > 0)
      deps.log.warn("this machine's clock differs from the hub's", { aheadMs: ms });
    levels.skewMs = ms;
    deps.metrics.clockSkew.set(ms / 1000);
  };
  const onStatusChange = (listener: () => void) => {
    statusListeners.add(listener);
    return () => statusListeners.delete(listener);
  };
  const answer = createAnswers(() => levels.settled);
  const parts = { credential, remote, publisher, status, answer, onStatusChange, onState, onSkew };
  return { name: "hub session", run: (signal) => runHubSession({ ...deps, ...parts }, signal) };
}

function adsTask(member: Member): AdsPortTask {
  const { deps, pool, issuer, credential, mesh, levels } = member;
  const { config, clock, log, surface } = deps;
  const account = { namespace: config.namespace, serviceAccount: AGENT_ACCOUNT };
  const onOpen = () => {
    levels.adsOpen = true;
    surface.setMissing(missingText(member));
  };
  const formerClusterCa = () => credential.formerClusterCa();
  const onProof = () => tellStatus(member);
  const { adsListen: listen, svidTtlMs } = config;
  return adsPortTask({
    ads: mesh.ads,
    issuer,
    formerClusterCa,
    pool,
    svidTtlMs,
    account,
    listen,
    clock,
    log,
    onOpen,
    onProof,
  });
}

function leadershipTask({ deps, levels, publisher, leader, mesh }: Member): Task {
  const { platform, metrics } = deps;
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
  return { name: "leadership", run: (signal) => platform.elect(lead, signal) };
}

function rejoinTask({ deps, levels, credential }: Member): Task {
  const { tokenFile } = deps.config;
  const hasLeft = () => levels.cutOff?.code === "ISTHMUS_MEMBER_LEFT";
  const identity = () => credential.state();
  return { name: "rejoin", run: (signal) => awaitNewToken({ ...deps, tokenFile, hasLeft, identity }, signal) };
}

async function untilFault({ fault }: Member, signal: AbortSignal): Promise<void> {
  const stopped = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  await Promise.race([stopped, fault.promise]);
}
