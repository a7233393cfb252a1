// The tasks that a member runs besides those of its parts: the session with the hub, the port for proxies, leadership, coming back.
// Each one moves the member's levels and says so.
import { runTasks, type Task } from "../shared/lifecycle.ts";
import { adsPortTask, type AdsPortTask } from "./ads-port.ts";
import { agentStatus } from "./agent-status.ts";
import { createProblemBook } from "./agent-views.ts";
import { createAnswers } from "./explain/answer.ts";
import { skewProblems } from "./hub/clock-skew.ts";
import { cutOffAfter } from "./hub/cut-off.ts";
import { runHubSession, type HubState } from "./hub/session.ts";
import { AGENT_ACCOUNT, type Member } from "./member-parts.ts";
import { allProblems, missingText } from "./member-problems.ts";
import { awaitNewToken } from "./rejoining.ts";

/** The report to the hub may say something else. */
export function tellStatus({ statusListeners }: Member): void {
  for (const listener of statusListeners) listener();
}

export function hubTask(member: Member, { verifiedBy }: AdsPortTask): Task {
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

export function adsTask(member: Member): AdsPortTask {
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

export function leadershipTask({ deps, levels, publisher, leader, mesh }: Member): Task {
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

export function rejoinTask({ deps, levels, credential }: Member): Task {
  const { tokenFile } = deps.config;
  const hasLeft = () => levels.cutOff?.code === "ISTHMUS_MEMBER_LEFT";
  const identity = () => credential.state();
  return { name: "rejoin", run: (signal) => awaitNewToken({ ...deps, tokenFile, hasLeft, identity }, signal) };
}

export async function untilFault({ fault }: Member, signal: AbortSignal): Promise<void> {
  const stopped = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  await Promise.race([stopped, fault.promise]);
}
