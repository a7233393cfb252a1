// Structured concurrency: a program is a list of tasks that end together. The first failure cancels the rest and is
// thrown; an abort from outside lets every task finish its clean-up. No task may outlive runTasks.

export interface Task {
  readonly name: string;
  /** Runs until the signal aborts. Returning early is allowed; throwing ends the program. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

export async function runTasks(outer: AbortSignal, tasks: readonly Task[]): Promise<void> {
  const inner = new AbortController();
  const signal = AbortSignal.any([outer, inner.signal]);
  let first: Error | undefined;
  const guard = async (task: Task) => {
    try {
      await task.run(signal);
    } catch (error) {
      if (signal.aborted) return; // an aborted wait rejects with the signal's reason: that is not a failure
      first ??= new Error(`task ${task.name} failed`, { cause: error });
      inner.abort(first);
    }
  };
  await Promise.all(tasks.map(guard));
  if (first !== undefined) throw first;
}
