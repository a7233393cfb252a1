// Workloads that lie about their health: their checks are good and most of their answers are errors. Keeps what sidecars report and says
// when somebody is left, or on trial again. Made by member.ts; the rules are agent/failover's.
import type { Clock } from "../shared/clock.ts";
import type { Task } from "../shared/lifecycle.ts";
import type { Log } from "../shared/log.ts";
import type { Problem } from "../shared/result.ts";
import type { Answers } from "./ads/load-messages.ts";
import { afterAnswers, isFailing, unheard, type AnswerRecord } from "./failover/answers.ts";
import { asTheyAnswer, podsToLeave } from "./failover/leaving.ts";
import type { PodInput } from "./ir/inputs.ts";
import type { PlatformInputs } from "./platform.ts";

const LOOK_MS = 1_000;

export interface FailingWorkloads {
  heard(podUid: string, answers: Answers): void;
  /** The same inputs again while nobody fails. */
  asTheyAnswer(own: PlatformInputs): PlatformInputs;
  problems(): readonly Problem[];
  readonly task: Task;
}

export interface FailingWorkloadsDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly changed: () => void;
}

interface View {
  readonly own: PlatformInputs;
  readonly failing: ReadonlySet<string>;
  readonly left: ReadonlySet<PodInput>;
  readonly result: PlatformInputs;
}

export function createFailingWorkloads({ clock, log, changed }: FailingWorkloadsDeps): FailingWorkloads {
  const records = new Map<string, AnswerRecord>();
  let failing: ReadonlySet<string> = new Set();
  let view: View | undefined;
  const look = () => {
    const now = clock.now();
    const next = new Set([...records].flatMap(([uid, record]) => (isFailing(record, now) ? [uid] : [])));
    if (next.size === failing.size && [...next].every((uid) => failing.has(uid))) return;
    failing = next;
    changed();
  };
  const run = async (signal: AbortSignal) => {
    while (!signal.aborted) {
      const alive = view === undefined ? undefined : new Set(view.own.pods.map(({ uid }) => uid));
      for (const uid of records.keys()) if (alive?.has(uid) === false) records.delete(uid);
      look();
      await clock.sleep(LOOK_MS, signal).catch(() => undefined);
    }
  };
  return {
    heard: (podUid, answers) => {
      const last = records.get(podUid) ?? unheard;
      const next = afterAnswers(last, answers, clock.now());
      records.set(podUid, next);
      if (next.strikes > last.strikes)
        log.warn("a workload answers with errors", { pod: podUid, strikes: next.strikes });
      look();
    },
    asTheyAnswer: (own) => {
      if (view?.own === own && view.failing === failing) return view.result;
      const left = podsToLeave(own, failing);
      view = { own, failing, left, result: asTheyAnswer(own, { failing, left }) };
      return view.result;
    },
    problems: () => (view === undefined ? [] : problemsOf(view)),
    task: { name: "failing workloads", run },
  };
}

function problemsOf({ own, failing, left }: View): readonly Problem[] {
  return own.pods
    .filter(({ uid }) => failing.has(uid))
    .map((pod) => {
      const so = left.has(pod)
        ? "callers go elsewhere, and it is tried again"
        : "nobody else here is well, so it is called on where no other member is";
      const who = `${pod.namespace}/${pod.name}`;
      return {
        code: "ISTHMUS_WORKLOAD_FAILING",
        message: `${who} answers most requests with errors (5xx, or a broken connection) though its health check is good: ${so}`,
      };
    });
}
