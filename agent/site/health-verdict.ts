// When a workload counts as ready. Pure: one answer of its health check after the other.

export interface HealthVerdict {
  /** Undefined before the first answer. */
  readonly ready: boolean | undefined;
  readonly failures: number;
}

export const unknownHealth: HealthVerdict = { ready: undefined, failures: 0 };

/** One lost answer is no outage; one good answer ends it, for traffic that waits costs more than a try. */
const FAILURES_TO_LEAVE = 2;

export function afterAnswer(last: HealthVerdict, isGood: boolean): HealthVerdict {
  if (isGood) return last.ready === true && last.failures === 0 ? last : { ready: true, failures: 0 };
  const failures = Math.min(last.failures + 1, FAILURES_TO_LEAVE);
  const ready = last.ready === true && failures < FAILURES_TO_LEAVE;
  return last.ready === ready && last.failures === failures ? last : { ready, failures };
}
