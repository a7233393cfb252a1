// Steps of the demo as a list: each is timed, told in plain words, and kept for the JSON report. A failed step stops
// the ones that need it, and they are reported as not run rather than left out.

export interface StepResult {
  readonly name: string;
  readonly ok: boolean;
  readonly ms: number;
  readonly detail: string;
}

export interface StepLog {
  /** What happens next, before it is done. */
  say(line: string): void;
}

export interface Steps {
  /** Runs `work`; its string is the detail shown and reported. Throws on after reporting when it fails. */
  run(name: string, intro: string, work: () => Promise<string>): Promise<void>;
  readonly results: readonly StepResult[];
}

export interface DemoReport {
  readonly ok: boolean;
  readonly steps: readonly StepResult[];
}

export function demoSteps(log: StepLog): Steps {
  const results: StepResult[] = [];
  return {
    results,
    run: async (name, intro, work) => {
      log.say(`\n${name}: ${intro}`);
      const started = performance.now();
      const finish = (ok: boolean, detail: string) => {
        const ms = Math.round(performance.now() - started);
        results.push({ name, ok, ms, detail });
        log.say(`  ${ok ? "ok" : "FAILED"} in ${(ms / 1000).toFixed(1)} s: ${detail}`);
      };
      try {
        finish(true, await work());
      } catch (error) {
        finish(false, error instanceof Error ? error.message : String(error));
        throw error;
      }
    },
  };
}

/** The report names every step that should have run; one that did not is not ok. */
export function demoReport(expected: readonly string[], results: readonly StepResult[]): DemoReport {
  const done = new Map(results.map((result) => [result.name, result]));
  const steps = expected.map(
    (name) => done.get(name) ?? { name, ok: false, ms: 0, detail: "not run: an earlier step failed" },
  );
  return { ok: steps.every((step) => step.ok), steps };
}
