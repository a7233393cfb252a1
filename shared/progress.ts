// What a person sees while something long runs: every step says its name, keeps saying that it is alive, and ends with
// its elapsed time. Everything slow here takes a Progress; tests pass one that is silent.

/** After this long without an end, a step says again that it is still running. */
const STILL_RUNNING_MS = 15_000;

export interface Progress {
  say(line: string): void;
  /** Runs `work` under a name and prints what it took. A failure is printed too and thrown on. */
  step<T>(name: string, work: () => Promise<T>): Promise<T>;
}

export function lineProgress(write: (line: string) => void): Progress {
  const say = (line: string) => write(`${line}\n`);
  return {
    say,
    step: async (name, work) => {
      const started = performance.now();
      say(`  ${name} ...`);
      const elapsed = () => `${((performance.now() - started) / 1000).toFixed(1)} s`;
      const alive = setInterval(() => say(`  ${name}: still running after ${elapsed()}`), STILL_RUNNING_MS);
      try {
        const result = await work();
        say(`  ${name}: ${elapsed()}`);
        return result;
      } catch (error) {
        say(`  ${name}: failed after ${elapsed()}`);
        throw error;
      } finally {
        clearInterval(alive);
      }
    },
  };
}

export const silentProgress: Progress = { say: () => undefined, step: (_name, work) => work() };
