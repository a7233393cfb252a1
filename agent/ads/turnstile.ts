// Lets a bounded number of checks run at a time: after an agent's restart every proxy comes at once, and each token costs the
// API server a review. Used by server. First come, first served; nothing is dropped, a client that gave up costs one check.

export interface Turnstile {
  /** Runs `work` when its turn comes. */
  readonly enter: <T>(work: () => Promise<T>) => Promise<T>;
}

export function createTurnstile(width: number): Turnstile {
  const waiting: (() => void)[] = [];
  let inside = 0;
  return {
    enter: async (work) => {
      if (inside >= width) await new Promise<void>((resolve) => waiting.push(resolve));
      else inside += 1;
      try {
        return await work();
      } finally {
        // the place is handed on, so that nobody can slip in between
        const next = waiting.shift();
        if (next === undefined) inside -= 1;
        else next();
      }
    },
  };
}
