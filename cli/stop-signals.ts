// How a person or a service manager ends a long-running command: the first signal asks, a second one insists.
import process from "node:process";

/** A closed terminal ends what was started in it; a handler would undo nohup(1), which leaves no terminal behind. */
function endingSignals(): readonly NodeJS.Signals[] {
  return process.stderr.isTTY ? ["SIGTERM", "SIGINT", "SIGHUP"] : ["SIGTERM", "SIGINT"];
}

export interface StopSignals {
  /** Aborts with the first signal's name as its reason. */
  readonly stop: AbortSignal;
  /** Aborts with the second. */
  readonly kill: AbortSignal;
  /** Signals end the process again as they do by default. */
  readonly release: () => void;
}

export function stopSignals(): StopSignals {
  const signals = endingSignals();
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
