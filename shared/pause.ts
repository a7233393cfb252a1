// A wait with two ends: some time has passed, or something happened. Used where a back-off or a refresh may be cut short.
import type { Clock } from "./clock.ts";

/** Resolves after `ms`, when `event` does, or when aborted: the caller looks at its signal. Leaves no timer behind. */
export async function sleepOrWake(
  clock: Clock,
  ms: number,
  event: Promise<unknown> | undefined,
  signal: AbortSignal,
): Promise<void> {
  const over = new AbortController();
  const slept = clock.sleep(ms, AbortSignal.any([signal, over.signal])).catch(ignoreAbort);
  // never a shared, unsettled promise here: each race would leave a reaction on it for ever
  await (event === undefined ? slept : Promise.race([slept, event]));
  over.abort();
  await slept;
}

/** A sleep that was cut short rejects. */
function ignoreAbort(): void {
  return;
}
