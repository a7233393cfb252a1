// Asks applications whether they are well, as the kubelet does for pods. One loop per workload with a check; a verdict is
// told when readiness changes. Which answers make a verdict is health-verdict.ts's to say.
import { request } from "node:http";
import { connect } from "node:net";
import type { Clock } from "../../shared/clock.ts";
import { share } from "../ir/sharing.ts";
import { afterAnswer, unknownHealth, type HealthVerdict } from "./health-verdict.ts";
import type { HealthCheck, WorkloadManifest } from "./workload.ts";

export interface HealthChecks {
  /** The workloads as they are now; those with an unchanged check go on as they are. */
  follow(workloads: readonly WorkloadManifest[]): void;
  isReady(workload: { readonly namespace: string; readonly name: string }): boolean;
  /** Every workload with a check has been asked once. */
  isKnown(): boolean;
  /** Runs until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

interface Watched {
  readonly check: HealthCheck;
  readonly stop: AbortController;
  verdict: HealthVerdict;
}

export function createHealthChecks(clock: Clock, onChange: () => void): HealthChecks {
  const watched = new Map<string, Watched>();
  const loops = new Set<Promise<void>>();
  let running: AbortSignal | undefined;
  const start = (entry: Watched, outer: AbortSignal) => {
    const loop = keepAsking(entry, { clock, onChange }, AbortSignal.any([outer, entry.stop.signal]));
    loops.add(loop);
    void loop.finally(() => loops.delete(loop));
  };
  const put = (key: string, check: HealthCheck) => {
    const known = watched.get(key);
    if (known !== undefined && share(known.check, check) === known.check) return;
    known?.stop.abort(new Error("the check is another now"));
    // readiness goes on from what was known: an edit of an interval must not take a workload out
    const entry: Watched = { check, stop: new AbortController(), verdict: known?.verdict ?? unknownHealth };
    watched.set(key, entry);
    if (running !== undefined) start(entry, running);
  };
  return {
    follow: (workloads) => {
      const checks = new Map(
        workloads.flatMap((each) => (each.healthCheck === undefined ? [] : [[keyOf(each), each.healthCheck] as const])),
      );
      for (const [key, { stop }] of watched) {
        if (checks.has(key)) continue;
        stop.abort(new Error("the workload is gone"));
        watched.delete(key);
      }
      for (const [key, check] of checks) put(key, check);
    },
    isReady: (workload) => {
      const entry = watched.get(keyOf(workload));
      return entry === undefined || entry.verdict.ready === true;
    },
    isKnown: () => [...watched.values()].every(({ verdict }) => verdict.ready !== undefined),
    run: async (signal) => {
      running = signal;
      for (const entry of watched.values()) start(entry, signal);
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener("abort", () => resolve(), { once: true });
      });
      await Promise.all(loops);
    },
  };
}

function keyOf({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${namespace}/${name}`;
}

async function keepAsking(
  entry: Watched,
  { clock, onChange }: { readonly clock: Clock; readonly onChange: () => void },
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const isGood = await answers(entry.check, signal);
    if (signal.aborted) return;
    const before = entry.verdict.ready;
    entry.verdict = afterAnswer(entry.verdict, isGood);
    if (entry.verdict.ready !== before) onChange();
    await clock.sleep(entry.check.intervalMs, signal).catch(ignoreAbort);
  }
}

async function answers(check: HealthCheck, signal: AbortSignal): Promise<boolean> {
  const limit = new AbortController();
  const end = () => limit.abort(new Error("no answer in time"));
  const timer = setTimeout(end, check.timeoutMs);
  signal.addEventListener("abort", end, { once: true });
  if (signal.aborted) end();
  try {
    return await (check.path === undefined
      ? accepts(check, limit.signal)
      : answersHttp(check, check.path, limit.signal));
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}

function accepts({ address, port }: HealthCheck, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, signal });
    socket.once("connect", () => {
      resolve(true);
      socket.destroy();
    });
    socket.once("error", () => resolve(false));
  });
}

/** 200 to 399, as a kubelet's probe. */
function answersHttp({ address, port }: HealthCheck, path: string, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    // a connection of its own each time: one that is kept open proves nothing of the next
    const asked = request({
      host: address,
      port,
      path,
      signal,
      agent: false,
      headers: { "user-agent": "isthmus-health" },
    });
    asked.once("response", (response) => {
      const status = response.statusCode ?? 0;
      resolve(status >= 200 && status < 400);
      response.destroy();
    });
    asked.once("error", () => resolve(false));
    asked.end();
  });
}

/** A sleep that was cut short rejects. */
function ignoreAbort(): void {
  return;
}
