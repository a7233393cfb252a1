// Tells the hub how this member is: every ten seconds, and soon after a change. What `isthmus status` shows; nothing that
// routes or trusts depends on it. Called by session.ts.
import type { Clock } from "../../shared/clock.ts";
import { skewMs } from "./clock-skew.ts";
import type { StatusReport } from "../../shared/grpc/fleet-messages.ts";
import type { FleetClient } from "../../shared/grpc/fleet-service.ts";

const everyMs = 10_000;
/** A burst of changes is one report. */
const spacingMs = 500;
const timeoutMs = 5_000;

/** The caller's part of a report; the rest is known in this folder. */
export type AgentStatus = Omit<
  StatusReport,
  "bundleSequence" | "appliedRevision" | "clusterCaNotAfterMs" | "agentNotAfterMs"
>;

export interface ReportDeps {
  readonly report: () => StatusReport;
  readonly onStatusChange: (listener: () => void) => () => void;
  /** The hub asks for new certificates before their time, having read this report. */
  readonly onRenewNow: (report: StatusReport) => void;
  readonly onSent: () => void;
  /** Milliseconds that this clock is ahead of the hub's. */
  readonly onSkew: (ms: number) => void;
  readonly clock: Clock;
}

export async function runReports(client: FleetClient, deps: ReportDeps, signal: AbortSignal): Promise<never> {
  const { clock, onRenewNow, onSent } = deps;
  let wake = new AbortController();
  const stop = deps.onStatusChange(() => wake.abort());
  try {
    for (;;) {
      wake = new AbortController();
      const report = deps.report();
      const sentMs = clock.now();
      const { renewNow, nowMs } = await sendReport(client, report);
      onSent();
      const skew = skewMs(sentMs, clock.now(), nowMs);
      if (skew !== undefined) deps.onSkew(skew);
      if (renewNow) onRenewNow(report);
      await clock.sleep(spacingMs, signal);
      const idle = AbortSignal.any([signal, wake.signal]);
      await clock.sleep(everyMs - spacingMs, idle).catch(() => signal.throwIfAborted());
    }
  } finally {
    stop();
  }
}

export function sendReport(client: FleetClient, report: StatusReport) {
  return client.report(report, { deadline: Date.now() + timeoutMs });
}
