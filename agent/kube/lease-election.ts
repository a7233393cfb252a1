// Which of the agent's replicas writes: a Lease (coordination.k8s.io) with compare-and-set. Called by agent/main.ts.
// A follower counts from the moment it saw the record change, by its own clock, so clocks may differ. The leader stops
// well before a follower may take over, and a process that was paused finds by its clock that its time is over.
import type { Clock } from "../../shared/clock.ts";
import { runTasks } from "../../shared/lifecycle.ts";
import type { Log } from "../../shared/log.ts";
import { isApiError } from "./api-error.ts";
import type { KubeClient } from "./client.ts";
import { LeaseRecord, type LeaseNames } from "./lease-record.ts";
import { sleepOrWake } from "../../shared/pause.ts";

export interface LeaseDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
}

export interface LeaseOptions extends LeaseNames {
  /** Whole seconds. A leader that died without giving the lease back is replaced after this long and one attempt. */
  readonly leaseMs?: number;
  /** Runs while leading; must end when the signal aborts. `leads` says whether a burst of writes may still begin. */
  readonly lead: (signal: AbortSignal, leads: () => boolean) => Promise<void>;
}

const LEASE_MS = 6000;

interface Term {
  readonly record: LeaseRecord;
  /** Between two attempts to take or renew. */
  readonly intervalMs: number;
  /** Since the last renewal: after it the leader stops, a third of the lease before anybody may take over. */
  readonly deadlineMs: number;
}

export async function runLeaseElection(options: LeaseOptions, deps: LeaseDeps, signal: AbortSignal): Promise<void> {
  const leaseMs = options.leaseMs ?? LEASE_MS;
  const record = new LeaseRecord({ ...options, leaseMs }, deps);
  const term: Term = { record, intervalMs: leaseMs / 4, deadlineMs: (leaseMs * 2) / 3 };
  while (!signal.aborted) {
    if (await tryTo(record, deps.log, signal)) await leadWhileHeld(term, options, deps, signal);
    // jitter: replicas that lost the same leader do not ask in step
    await sleepOrWake(deps.clock, term.intervalMs * (0.75 + 0.25 * deps.random()), undefined, signal);
  }
}

/** Renews until the lease is lost or the outer signal aborts; then waits for `lead` to end and gives the lease back. */
async function leadWhileHeld(term: Term, options: LeaseOptions, deps: LeaseDeps, outer: AbortSignal): Promise<void> {
  const { record, deadlineMs } = term;
  const over = new AbortController();
  const leads = () => !over.signal.aborted && deps.clock.now() - record.renewedAtMs < deadlineMs;
  deps.log.info("leading", { lease: options.name });
  await runTasks(AbortSignal.any([outer, over.signal]), [
    { name: "renew the lease", run: (signal) => renew(term, deps, leads, signal).finally(() => over.abort()) },
    { name: "lead", run: (signal) => options.lead(signal, leads) },
  ]);
  deps.log.info("leading no more", { lease: options.name });
  await tryRelease(record, deps.log);
}

async function renew(term: Term, deps: LeaseDeps, leads: () => boolean, signal: AbortSignal): Promise<void> {
  const { record, intervalMs, deadlineMs } = term;
  while (!signal.aborted && record.held && leads()) {
    await sleepOrWake(deps.clock, intervalMs, undefined, signal);
    // a renewal that hangs must not outlive the deadline
    const late = AbortSignal.timeout(Math.max(1, deadlineMs - (deps.clock.now() - record.renewedAtMs)));
    await tryTo(record, deps.log, AbortSignal.any([signal, late]));
  }
}

/** One attempt to take or renew; a failure of the API counts as "not renewed" and is tried again by the caller's loop. */
async function tryTo(record: LeaseRecord, log: Log, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  try {
    return await record.takeOrRenew(signal);
  } catch (error) {
    if (isApiError(error)) log.debug("lease not renewed", { failure: error.failure, reason: error.message });
    else if (error !== signal.reason) throw error;
    return false;
  }
}

/** Best effort: the lease expires anyway. */
async function tryRelease(record: LeaseRecord, log: Log): Promise<void> {
  if (!record.held) return;
  try {
    await record.release();
  } catch (error) {
    if (!isApiError(error)) throw error;
    log.debug("lease not given back", { failure: error.failure, reason: error.message });
  }
}
