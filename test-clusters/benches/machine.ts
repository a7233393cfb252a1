// What a figure was measured on: written beside every bench result, because a number without it cannot be compared.
import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";

export interface MachineFacts {
  readonly cpu: string;
  readonly cores: number;
  readonly memory_mb: number;
  readonly kernel: string;
  /** Load averages (1, 5, 15 min) before anything was started. */
  readonly load_before: readonly number[];
}

export function machineFacts(): MachineFacts {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
    memory_mb: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
    load_before: loadavg().map((load) => Math.round(load * 100) / 100),
  };
}

/** Proportional set size of a process in kB: shared pages are counted once over all that share them. */
export function pssKb(pid: number): number {
  const line = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"));
  return Number(line?.[1] ?? 0);
}

const TICK_MS = 50;

/**
 * How long a process that does next to nothing did not get the processor: what is slower by less than that was not slow by itself.
 * Returns the way to stop, with the longest time in ms.
 */
export function watchStalls(): () => number {
  let [last, longest] = [performance.now(), 0];
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last - TICK_MS);
    last = now;
  }, TICK_MS);
  return () => {
    clearInterval(timer);
    return Math.round(longest);
  };
}
