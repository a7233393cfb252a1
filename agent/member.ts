// The life of a member: credentials, hub session, mesh and leadership, wired together on its platform. Everything here is a
// level object or a task; this file says who is told of what, and holds no rule.
import { UserError } from "../shared/errors.ts";
import { runTasks } from "../shared/lifecycle.ts";
import { createSigningPool, type SigningPool } from "../shared/pki/signing-pool.ts";
import type { RegistryRecord } from "../shared/registry.ts";
import type { Problem } from "../shared/result.ts";
import { ackNote } from "./agent-views.ts";
import { createFailingWorkloads } from "./failing-workloads.ts";
import { Publisher } from "./hub/publisher.ts";
import { restoredRegistry } from "./hub/registry-copy.ts";
import { refusedProblems } from "./hub/refused-records.ts";
import { RemoteRegistry } from "./hub/remote-registry.ts";
import { openAgentCredential } from "./identity/agent-credential.ts";
import { certificatesOf, livesOver, watchAges } from "./identity/certificate-ages.ts";
import type { JoinedIdentity } from "./identity/identity-state.ts";
import { foreignFleetsReader, rootsReader } from "./identity/roots-pem.ts";
import { createSvidIssuer } from "./identity/svid-issuer.ts";
import { selectExports } from "./ir/exports.ts";
import { createMesh, type Settled } from "./mesh.ts";
import { meshInputs, type MeshSources } from "./mesh-inputs.ts";
import { createPolicyCopies } from "./policy-copies.ts";
import { AGENT_ACCOUNT, GATEWAY_ACCOUNT, type Levels, type Member, type MemberDeps } from "./member-parts.ts";
import { allProblems, missingText } from "./member-problems.ts";
import { adsTask, hubTask, leadershipTask, rejoinTask, tellStatus, untilFault } from "./member-tasks.ts";

/** Of a member that is cut off: the others neither call it nor answer, and its gateway takes no peer. */
const noRecords: readonly RegistryRecord[] = [];

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
