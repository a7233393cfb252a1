// Ctrl-C as the demo waits for it.

export function interrupted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Neither a handler of a signal nor a fleet of processes of their own keeps this program: it would end and leave them behind. */
export async function stayUntilInterrupted(signal: AbortSignal): Promise<void> {
  const staying = setInterval(() => undefined, LONGEST_TIMER_MS);
  await interrupted(signal).finally(() => clearInterval(staying));
}
