// Reconnect delays: exponential with full jitter, so that a fleet does not come back as one herd.

export interface BackoffOptions {
  readonly baseMs: number;
  readonly maxMs: number;
}

/** Delay before attempt `attempt` (0 = first retry). `random` in [0, 1) is a parameter, so the answer is a function of it. */
export function backoffDelayMs(attempt: number, options: BackoffOptions, random: number): number {
  const ceiling = Math.min(options.maxMs, options.baseMs * 2 ** Math.min(attempt, 30));
  return Math.round(ceiling / 2 + (ceiling / 2) * random);
}
