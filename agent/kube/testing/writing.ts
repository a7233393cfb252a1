// A writer at work in a test, as it is while its agent leads.
import { runTasks } from "../../../shared/lifecycle.ts";
import type { Writer } from "../writer.ts";

/** Runs the writer until the work is done. */
export async function writing<T>(writer: Writer<T>, work: () => Promise<void>): Promise<void> {
  const abort = new AbortController();
  const done = runTasks(abort.signal, [writer.task]);
  try {
    await work();
  } finally {
    abort.abort();
    await done;
  }
}
