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
