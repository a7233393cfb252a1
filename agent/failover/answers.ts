// Which workloads answer with errors though their health checks are good, from what their sidecars count. Pure: one report after the
// other. Whether anybody leaves such a workload is leaving.ts's to say.

export interface AnswerRecord {
  /** Of the answers that are not judged yet. */
  readonly succeeded: number;
  readonly failed: number;
  /** How often in a row it was found failing. */
  readonly strikes: number;
  /** ms since 1970; 0: it is well. From then on it is on trial. */
  readonly failingUntilMs: number;
}

export const unheard: AnswerRecord = { succeeded: 0, failed: 0, strikes: 0, failingUntilMs: 0 };

/** Fewer say nothing: the one request of a minute that fails is no outage. */
const JUDGED_ANSWERS = 10;
/** Of what it answers. Below it, errors are the application's business: somebody may be asking for nonsense. */
const FAILING_SHARE = 0.5;
const FIRST_MS = 10_000;
const LONGEST_MS = 300_000;

export function afterAnswers(
  last: AnswerRecord,
  answers: { readonly succeeded: number; readonly failed: number },
  nowMs: number,
): AnswerRecord {
  // what still comes over old connections says nothing new
  if (isFailing(last, nowMs)) return last;
  const [succeeded, failed] = [last.succeeded + answers.succeeded, last.failed + answers.failed];
  if (succeeded + failed < JUDGED_ANSWERS) return { ...last, succeeded, failed, failingUntilMs: 0 };
  if (failed < FAILING_SHARE * (succeeded + failed)) return unheard;
  const strikes = last.strikes + 1;
  const forMs = Math.min(FIRST_MS * 2 ** (strikes - 1), LONGEST_MS);
  return { succeeded: 0, failed: 0, strikes, failingUntilMs: nowMs + forMs };
}

export function isFailing({ failingUntilMs }: AnswerRecord, nowMs: number): boolean {
  return nowMs < failingUntilMs;
}
