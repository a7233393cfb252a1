// Waiting in tests: for a change of the stores, never for a time. Every wait has a deadline and says what it waited for.
import type { Kube } from "../kube.ts";

/** Generous: a busy machine is slow, and a wait that succeeds ends at once. */
const DEADLINE_MS = 30_000;

export async function until(kube: Kube, what: string, holds: () => boolean, deadlineMs = DEADLINE_MS): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const check = () => {
      if (!holds()) return;
      clearTimeout(timer);
      stop();
      resolve();
    };
    const stop = kube.onChange(check);
    const timer = setTimeout(() => {
      stop();
      const states = kube.states().map(({ kind, feed }) => `${kind} ${feed.state}`);
      reject(new Error(`not in ${deadlineMs} ms: ${what}; ${states.join(", ")}`));
    }, deadlineMs);
    check();
  });
}

/** For what only the API server can say: asks again until it holds. */
export async function read<T>(ask: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  for (const deadline = performance.now() + DEADLINE_MS; ;) {
    const value = await ask();
    if (holds(value)) return value;
    if (performance.now() > deadline) throw new Error(`not in ${DEADLINE_MS} ms: ${JSON.stringify(value)}`);
  }
}
