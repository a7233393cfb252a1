// Waiting for something outside that cannot notify us: asks again until a deadline, and then says what it waited for
// and what it last saw. For tests and the demo only; the product never polls on a path that a user waits for.

const ASK_AGAIN_MS = 100;

/** `ask` answers false or undefined for "not yet"; a throw ends the wait at once. */
export async function until<T>(what: string, timeoutMs: number, ask: () => Promise<T | false | undefined>): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== false && answer !== undefined) return answer;
    if (performance.now() > deadline) throw new Error(`waited ${(timeoutMs / 1000).toFixed(0)} s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
}
