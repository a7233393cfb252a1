// The agent's side of its life with the hub: watch, publish, report and renew over one connection, each restarted by itself
// with backoff. Losing the hub changes nothing that is held. Called by the composition root, which owns the level objects
// (credential, remote registry, publisher) and reads them at any time.
import { status } from "@grpc/grpc-js";
import { backoffDelayMs } from "../../shared/backoff.ts";
import type { Clock } from "../../shared/clock.ts";
import type { StatusReport, TrustBundle } from "../../shared/grpc/fleet-messages.ts";
import type { FleetClient } from "../../shared/grpc/fleet-service.ts";
import { readFleetError, type FleetProblem } from "../../shared/grpc/fleet-status.ts";
import { runTasks } from "../../shared/lifecycle.ts";
import { causeChain, type Log } from "../../shared/log.ts";
import type { AgentCredential } from "../identity/agent-credential.ts";
import type { AnswerContent, Question } from "../../shared/grpc/question-messages.ts";
import { runAnswers } from "./answers.ts";
import { HubChannel } from "./hub-channel.ts";
import type { Publisher } from "./publisher.ts";
import type { RemoteRegistry } from "./remote-registry.ts";
import { runReports, sendReport, type AgentStatus } from "./report.ts";
import { runWatch } from "./watch.ts";

const transient = { baseMs: 200, maxMs: 5_000 };
/** A member that was refused is not let in by asking more often; one whose revocation is undone shall not wait for long. */
const refused = { baseMs: 2_000, maxMs: 10_000 };
const refusals: ReadonlySet<status> = new Set([
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.FAILED_PRECONDITION,
  status.INVALID_ARGUMENT,
  status.RESOURCE_EXHAUSTED,
  // a hub that is older than this agent
  status.UNIMPLEMENTED,
]);
const renewTimeoutMs = 15_000;
const keyReplaced = "ISTHMUS_AGENT_KEY_REPLACED";

/** Whether the hub is there, as a level: connected means that the watch is live and whole. */
export interface HubState {
  readonly connected: boolean;
  /** Why not; kept until the next connection. */
  readonly problem: Pick<FleetProblem, "code" | "message" | "hint"> | undefined;
}

export interface HubSessionDeps {
  readonly credential: AgentCredential;
  readonly remote: RemoteRegistry;
  readonly publisher: Publisher;
  readonly status: () => AgentStatus;
  /** The hub's questions, which people ask of it. */
  readonly answer: (question: Question) => Promise<AnswerContent>;
  readonly onStatusChange: (listener: () => void) => () => void;
  readonly onState: (state: HubState) => void;
  readonly onSkew: (ms: number) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/** One stream of the session: runs until it breaks, and says through `alive` that it works. */
type Stream = (client: FleetClient, signal: AbortSignal, alive: () => void) => Promise<never>;

export async function runHubSession(deps: HubSessionDeps, signal: AbortSignal): Promise<void> {
  const report = () => fullReport(deps);
  const channel = new HubChannel({ ...deps, prove: (client) => sendReport(client, report()) });
  const connection = connectionState(deps);
  const keep = (name: string, stream: Stream, onLost: (problem: FleetProblem) => void = () => undefined) => ({
    name,
    run: (inner: AbortSignal) => keepRunning({ name, stream, onLost, channel, deps }, inner),
  });
  await runTasks(signal, [
    { name: "hub connection", run: (inner) => channel.run(inner) },
    keep("watch", watchStream(deps, connection.live), connection.lost),
    keep("publish", (client, inner, alive) => deps.publisher.runStream(client, inner, alive)),
    keep("report", (client, inner, alive) => {
      const { credential, onStatusChange, clock } = deps;
      // renewed since the report was made: the hub has not seen that yet
      const onRenewNow = ({ clusterCaNotAfterMs, agentNotAfterMs }: StatusReport) => {
        const isSame = clusterCaNotAfterMs === credential.clusterCa().validity.notAfterMs;
        if (isSame && agentNotAfterMs === credential.agentValidity().notAfterMs) credential.renewSoon();
      };
      const { onSkew } = deps;
      return runReports(client, { report, onStatusChange, onRenewNow, onSent: alive, onSkew, clock }, inner);
    }),
    keep("answer", (client, inner, alive) => runAnswers(client, { answer: deps.answer, onOpen: alive }, inner)),
    {
      name: "renew",
      run: (inner) =>
        deps.credential.run(
          (request) => channel.current().client.renew(request, { deadline: Date.now() + renewTimeoutMs }),
          inner,
        ),
    },
  ]);
}

function watchStream(deps: HubSessionDeps, live: () => void): Stream {
  const { remote, clock, publisher, log } = deps;
  return (client, signal, alive) => {
    const onSynced = () => {
      alive();
      live();
    };
    const onResync = (reason: string) => {
      log.info("the hub sends its whole registry", { reason });
      // another life of the hub's data, or a restored old one: what we publish may be missing there
      if (reason !== "first-list") publisher.restart();
    };
    return runWatch(
      client,
      { remote, clock, onBundle: (bundle) => takeBundle(deps, bundle), onSynced, onResync },
      signal,
    );
  };
}

function takeBundle({ credential, log }: HubSessionDeps, bundle: TrustBundle): void {
  credential.offerBundle(bundle).then(
    (taken) => {
      if (!taken.ok)
        log.error("the hub's trust bundle is refused; the held one stays", { problem: taken.error[0]?.message });
      else if (taken.value === "newer") log.info("a newer trust bundle is in use", { sequence: bundle.sequence });
    },
    (error: unknown) =>
      log.error("a newer trust bundle could not be kept; it comes again with the next watch", {}, error),
  );
}

interface Kept {
  readonly name: string;
  readonly stream: Stream;
  readonly onLost: (problem: FleetProblem) => void;
  readonly channel: HubChannel;
  readonly deps: HubSessionDeps;
}

/** Streams break; that is normal. What is told is a new reason, not each attempt. */
async function keepRunning({ name, stream, onLost, channel, deps }: Kept, signal: AbortSignal): Promise<void> {
  const { clock, random, log } = deps;
  let [attempt, toldCode] = [0, ""];
  const alive = () => {
    [attempt, toldCode] = [0, ""];
  };
  for (;;) {
    const { client, replaced } = channel.current();
    try {
      await stream(client, AbortSignal.any([signal, replaced]), alive);
    } catch (error) {
      signal.throwIfAborted();
      if (replaced.aborted) continue;
      const problem = asProblem(error);
      onLost(problem);
      // another replica has renewed, and twice: what it kept is taken over at once
      if (problem.code === keyReplaced) deps.credential.renewSoon();
      if (problem.code !== toldCode) log.warn(`${name} stream lost`, { code: problem.code, cause: causeChain(error) });
      toldCode = problem.code;
      const options = refusals.has(problem.status) ? refused : transient;
      await clock.sleep(backoffDelayMs(attempt++, options, random()), signal);
    }
  }
}

/** A reason of our own (silence, a fault of the hub's) is told like one from the wire. */
function asProblem(error: unknown): FleetProblem {
  if (error instanceof Error && "metadata" in error) return readFleetError(error);
  const message = error instanceof Error ? error.message : "the stream ended";
  return { status: status.UNAVAILABLE, code: "ISTHMUS_HUB_STREAM", message };
}

function connectionState({ onState }: HubSessionDeps) {
  let connected = false;
  return {
    live: () => {
      if (!connected) onState({ connected: true, problem: undefined });
      connected = true;
    },
    lost: ({ code, message, hint }: FleetProblem) => {
      connected = false;
      onState({ connected, problem: { code, message, ...(hint === undefined ? {} : { hint }) } });
    },
  };
}

function fullReport({ credential, remote, status: agentStatus }: HubSessionDeps): StatusReport {
  return {
    ...agentStatus(),
    bundleSequence: credential.state().bundle.sequence,
    appliedRevision: remote.appliedRevision(),
    clusterCaNotAfterMs: credential.clusterCa().validity.notAfterMs,
    agentNotAfterMs: credential.agentValidity().notAfterMs,
  };
}
