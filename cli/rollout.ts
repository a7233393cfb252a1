// Waits until the agent and the gateway of a cluster are ready, by watching their pods, and says why when they are not:
// a join that hangs is the worst first impression. Called by `isthmus join`.
import { UserError } from "../shared/errors.ts";
import { followProgram, runProgram } from "./program.ts";
import { containerFaults, podOfLine, podTemplate, type PodState } from "./pod-state.ts";

export const systemNamespace = "isthmus-system";
const parts = ["isthmus-agent", "isthmus-gateway"] as const;

export interface RolloutOptions {
  readonly context: string;
  readonly timeoutMs: number;
  readonly say: (line: string) => void;
}

export async function waitForRollout({ context, timeoutMs, say }: RolloutOptions): Promise<void> {
  const place = ["--context", context, "--namespace", systemNamespace];
  const ending = new AbortController();
  const overdue = setTimeout(() => ending.abort(), timeoutMs);
  const started = Date.now();
  const pods = new Map<string, PodState>();
  let told = "";
  try {
    for await (const pod of podChanges(place, ending.signal)) {
      pods.set(pod.name, pod);
      if (containerFaults(pod).some(({ fatal }) => fatal)) break;
      const progress = progressOf(pods);
      if (progress !== told) say(`${((Date.now() - started) / 1000).toFixed(1)} s  ${progress}`);
      told = progress;
      if (isReady(pods)) return;
    }
  } finally {
    clearTimeout(overdue);
    ending.abort();
  }
  throw await explain(place, pods, timeoutMs);
}

/** Pods of agent and gateway as they change, until the signal aborts. kubectl ends its watch when the API server does. */
async function* podChanges(place: readonly string[], signal: AbortSignal): AsyncGenerator<PodState, void> {
  const selector = `app.kubernetes.io/name in (${parts.join(",")})`;
  const watch = ["get", "pods", ...place, "--selector", selector, "--watch", "--output", `jsonpath=${podTemplate}`];
  while (!signal.aborted) {
    for await (const line of followProgram("kubectl", watch, signal)) {
      const pod = podOfLine(line);
      if (pod !== undefined) yield pod;
    }
    await pause(200, signal);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function isReady(pods: ReadonlyMap<string, PodState>): boolean {
  return parts.every((part) => [...pods.values()].some((pod) => pod.part === part && pod.ready));
}

function progressOf(pods: ReadonlyMap<string, PodState>): string {
  return parts
    .map((part) => {
      const own = [...pods.values()].filter((pod) => pod.part === part && !pod.deleted);
      return `${part} ${own.filter(({ ready }) => ready).length}/${own.length} ready`;
    })
    .join(", ");
}

/** The probable cause, from the most telling source: the agent's own last words, then containers, then the scheduler. */
async function explain(
  place: readonly string[],
  pods: ReadonlyMap<string, PodState>,
  timeoutMs: number,
): Promise<UserError> {
  const alive = [...pods.values()].filter(({ deleted }) => !deleted);
  const waiting = alive.filter(({ ready }) => !ready);
  const fault = waiting.flatMap((pod) => containerFaults(pod).map((found) => ({ pod, ...found })))[0];
  const agent = waiting.find(({ part }) => part === "isthmus-agent");
  const lastWords = agent === undefined ? undefined : await lastError(place, agent.name);
  const hint = `look closer: kubectl ${place.join(" ")} describe pods`;
  if (lastWords !== undefined)
    return new UserError(lastWords.code, lastWords.message, { hint: lastWords.hint ?? hint });
  if (fault !== undefined) {
    return new UserError("ISTHMUS_JOIN_POD", `pod ${fault.pod.name} does not start: ${fault.reason}`, {
      cause: new Error(fault.message),
      hint: fault.hint,
    });
  }
  const seconds = Math.round(timeoutMs / 1000);
  const [first] = waiting;
  const what =
    first === undefined ? "no pod of the agent was made" : `pod ${first.name} is ${first.phase} and not ready`;
  const cause = first === undefined || first.unschedulable === "" ? {} : { cause: new Error(first.unschedulable) };
  return new UserError("ISTHMUS_JOIN_TIMEOUT", `not ready after ${seconds} s: ${what}`, { ...cause, hint });
}

interface LastWords {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

/** The last line of the agent's log, of this run or the one before, that carries one of our codes. */
async function lastError(place: readonly string[], pod: string): Promise<LastWords | undefined> {
  for (const previous of [[], ["--previous"]]) {
    const { stdout } = await runProgram("kubectl", ["logs", pod, ...place, "--tail", "50", ...previous]);
    const found = stdout
      .trim()
      .split("\n")
      .reverse()
      .map(codeInLine)
      .find((words) => words !== undefined);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** A JSON log line with a `code` field, or the `error CODE: ...` with which a program of ours ends. */
export function codeInLine(line: string): LastWords | undefined {
  const plain = /\berror (ISTHMUS_[A-Z_]+): (.*)$/.exec(line);
  if (plain?.[1] !== undefined && !line.startsWith("{")) return { code: plain[1], message: plain[2] ?? "" };
  try {
    const { code, message, reason, hint, next } = JSON.parse(line) as Record<string, unknown>;
    if (typeof code !== "string" || !code.startsWith("ISTHMUS_")) return undefined;
    const advice = [hint, next].find((text) => typeof text === "string");
    const said = [message, reason].filter((text) => typeof text === "string").join(": ");
    return { code, message: said, ...(typeof advice === "string" ? { hint: advice } : {}) };
  } catch {
    return undefined; // a line of Node or of a library
  }
}
