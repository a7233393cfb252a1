// How a person or a service manager ends a long-running command: the first signal asks, a second one insists.
import process from "node:process";

const signals = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

export interface StopSignals {
  /** Aborts with the first signal's name as its reason. */
  readonly stop: AbortSignal;
  /** Aborts with the second. */
  readonly kill: AbortSignal;
  /** Signals end the process again as they do by default. */
  readonly release: () => void;
}

export function stopSignals(): StopSignals {
  const stop = new AbortController();
  const kill = new AbortController();
  const onSignal = (signal: NodeJS.Signals) => (stop.signal.aborted ? kill : stop).abort(signal);
  for (const signal of signals) process.on(signal, onSignal);
  return {
    stop: stop.signal,
    kill: kill.signal,
    release: () => {
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
}
