// A loop that makes something on disk as it should be: told what is wanted, newest wins, nothing queues. A disk that is full
// or a folder that is away is tried again; what was written last stays.
import { backoffDelayMs } from "../../shared/backoff.ts";
import type { Clock } from "../../shared/clock.ts";
import type { Task } from "../../shared/lifecycle.ts";
import { causeChain, type Log } from "../../shared/log.ts";
import { sleepOrWake } from "../../shared/pause.ts";
import type { Problem } from "../../shared/result.ts";
import { isForAPerson } from "./site-files.ts";

export interface KeeperOptions<T> {
  readonly name: string;
  /** Writes the difference only. */
  readonly write: (wanted: T) => Promise<void>;
  /** Looks again after this time even when nothing was wanted anew. */
  readonly refreshMs: number;
  /** Between two writes. */
  readonly spacingMs?: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

export interface Keeper<T> {
  want(wanted: T): void;
  /** Of the last write. */
  problems(): readonly Problem[];
  readonly task: Task;
}

const backoff = { baseMs: 500, maxMs: 30_000 };

export function createKeeper<T>(options: KeeperOptions<T>): Keeper<T> {
  const { name, clock, random, refreshMs, spacingMs = 0 } = options;
  let wanted: { readonly value: T } | undefined;
  let problems: readonly Problem[] = [];
  let wake = Promise.withResolvers<undefined>();
  let written: typeof wanted;
  const write = async () => {
    const wish = wanted;
    problems = wish === undefined ? [] : await writeOnce(options, wish.value, problems);
    if (problems.length === 0) written = wish;
  };
  const loop = async (signal: AbortSignal) => {
    for (let attempt = 0; !signal.aborted;) {
      const woken = wake.promise; // taken before the write: a wish during it is not missed
      await write();
      attempt = problems.length === 0 ? 0 : attempt + 1;
      const pauseMs = attempt === 0 ? spacingMs : backoffDelayMs(attempt - 1, backoff, random());
      if (pauseMs > 0) await clock.sleep(pauseMs, signal);
      if (attempt === 0) await sleepOrWake(clock, refreshMs, woken, signal);
    }
  };
  const run = async (signal: AbortSignal) => {
    try {
      await loop(signal);
    } finally {
      if (signal.aborted && written !== wanted) await write(); // what waited for its turn is for the next start
    }
  };
  return {
    want: (value) => {
      if (wanted !== undefined && wanted.value === value) return;
      wanted = { value };
      wake.resolve(undefined);
      wake = Promise.withResolvers<undefined>();
    },
    problems: () => problems,
    task: { name: `keep ${name}`, run },
  };
}

async function writeOnce<T>(
  { name, write, log }: KeeperOptions<T>,
  wanted: T,
  before: readonly Problem[],
): Promise<readonly Problem[]> {
  try {
    await write(wanted);
    return [];
  } catch (error) {
    if (!isForAPerson(error)) throw error;
    const message = `${name} not written yet: ${causeChain(error).join("; caused by ")}`;
    if (before[0]?.message !== message) log.warn(message);
    return [{ code: "ISTHMUS_SITE_STATE", message }];
  }
}
