// A clock that stands still until a test moves it. Sleepers whose time has come wake in the order of their times, each after
// the loop that was woken before has gone to sleep again: so the outcome does not depend on the machine's speed.
import type { Clock } from "../../../shared/clock.ts";

interface Sleeper {
  readonly wakeMs: number;
  readonly wake: () => void;
}

export class HeldClock implements Clock {
  /** How many loops under test run: all of them asleep means that nothing is under way. */
  loops = 0;
  #nowMs: number;
  readonly #sleepers = new Set<Sleeper>();

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  now(): number {
    return this.#nowMs;
  }

  /** Longest that a sleeper asked for now: what a suspended machine would oversleep. */
  longestSleepMs(): number {
    return Math.max(0, ...Array.from(this.#sleepers, ({ wakeMs }) => wakeMs - this.#nowMs));
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const sleeper: Sleeper = { wakeMs: this.#nowMs + ms, wake: resolve };
      const fail = () => {
        this.#sleepers.delete(sleeper);
        reject(signal.reason as Error);
      };
      if (signal.aborted) fail();
      else this.#sleepers.add(sleeper);
      signal.addEventListener("abort", fail, { once: true });
    });
  }

  /** Time passes as on a running machine: every sleeper wakes at its moment and may sleep again. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      await this.#quiet();
      const next = [...this.#sleepers].sort((a, b) => a.wakeMs - b.wakeMs)[0];
      if (next === undefined || next.wakeMs > endMs) break;
      this.#nowMs = Math.max(this.#nowMs, next.wakeMs);
      this.#sleepers.delete(next);
      next.wake();
    }
    this.#nowMs = endMs;
    await this.#quiet();
  }

  /** The machine was suspended: time has passed, timers have not. */
  jump(ms: number): void {
    this.#nowMs += ms;
    const late = [...this.#sleepers];
    this.#sleepers.clear();
    for (const sleeper of late) this.#sleepers.add({ ...sleeper, wakeMs: sleeper.wakeMs + ms });
  }

  async #quiet(): Promise<void> {
    const started = performance.now();
    while (this.#sleepers.size < this.loops) {
      if (performance.now() - started > 10_000) throw new Error("a loop under test never went to sleep again");
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
