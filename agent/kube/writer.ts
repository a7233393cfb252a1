// The loop under every writer: it is told what should be, and makes it so. Newest wins: a wish that came while one was
// being written replaces every older one, nothing queues. Failures are retried with the newest wish; a periodic round
// mends what others changed. Run as leader only (lease-election.ts).
import { backoffDelayMs } from "../../shared/backoff.ts";
import type { Clock } from "../../shared/clock.ts";
import type { Task } from "../../shared/lifecycle.ts";
import type { Log } from "../../shared/log.ts";
import { isApiError } from "./api-error.ts";
import { sleepOrWake } from "../../shared/pause.ts";

export interface WriterDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
}

export interface WriterOptions<T> extends WriterDeps {
  readonly name: string;
  /** Compares with what is there and writes only the difference: called often with the same wish. */
  readonly write: (wanted: T, signal: AbortSignal) => Promise<void>;
  readonly refreshMs?: number;
}

export interface Writer<T> {
  /** Level-triggered: call it whenever anything moved; an unchanged world costs no request. */
  want(wanted: T): void;
  readonly task: Task;
}

const REFRESH_MS = 10 * 60_000;
const backoff = { baseMs: 500, maxMs: 30_000 };

export function createWriter<T>(options: WriterOptions<T>): Writer<T> {
  let wanted: { readonly value: T } | undefined;
  let wake = Promise.withResolvers<undefined>();
  const nudge = () => {
    wake.resolve(undefined);
    wake = Promise.withResolvers<undefined>();
  };
  const run = async (signal: AbortSignal) => {
    const { clock, random, refreshMs = REFRESH_MS } = options;
    for (let attempt = 0; !signal.aborted;) {
      const woken = wake.promise; // taken before the write: a wish during it is not missed
      const done = wanted === undefined || (await writeOnce(options, wanted.value, signal));
      attempt = done ? 0 : attempt + 1;
      // after a failure the pause is kept even if new wishes come: they must not defeat the backoff
      if (!done) await clock.sleep(backoffDelayMs(attempt - 1, backoff, random()), signal);
      else await sleepOrWake(clock, Math.round(refreshMs * (0.8 + 0.4 * random())), woken, signal);
    }
  };
  return {
    want: (value) => {
      wanted = { value };
      nudge();
    },
    task: { name: `write ${options.name}`, run },
  };
}

async function writeOnce<T>(options: WriterOptions<T>, wanted: T, signal: AbortSignal): Promise<boolean> {
  try {
    await options.write(wanted, signal);
    return true;
  } catch (error) {
    if (!isApiError(error)) throw error;
    options.log.warn("not written yet, trying again", {
      writer: options.name,
      failure: error.failure,
      reason: error.message,
    });
    return false;
  }
}
