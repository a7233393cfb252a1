// Asking a service until its answer is the one that is waited for.
import type { Answer, Caller } from "../traffic/caller.ts";
import { until } from "./until.ts";

export function importUrl(service: string, namespace: string, path = "/"): string {
  return `http://${service}.${namespace}.svc.clusterset.local:8080${path}`;
}

/** Asks until the status is the one that is waited for; the last answer is in the failure. */
export async function untilStatus(caller: Caller, url: string, status: number, timeoutMs = 45_000): Promise<Answer> {
  let last = "nothing";
  return until(`status ${status} from ${url}`, timeoutMs, async () => {
    const answer = await caller.request({ url });
    last = answer.error ?? `${String(answer.status)} ${(answer.body ?? "").trim()}`;
    return answer.status === status && answer;
  }).catch((cause: unknown) => {
    throw new Error(`${url} did not answer ${status}; the last answer was: ${last}`, { cause });
  });
}
