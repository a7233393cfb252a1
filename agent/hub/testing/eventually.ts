// Waits for a level in tests: looks again every few milliseconds until it holds or a deadline has passed.
import { setTimeout as pause } from "node:timers/promises";

export async function eventually(holds: () => boolean, deadlineMs = 30_000): Promise<void> {
  const started = performance.now();
  while (!holds()) {
    if (performance.now() - started > deadlineMs)
      throw new Error(`still not true after ${deadlineMs} ms: ${String(holds)}`);
    await pause(5);
  }
}
