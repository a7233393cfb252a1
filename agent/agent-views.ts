// What the agent shows of itself: readiness, debug views, the report to the hub. Pure reading of its state.
import type { Problem } from "../shared/result.ts";
import type { StatusProblem } from "../shared/grpc/fleet-messages.ts";
import type { AckEvent } from "./ads/stream.ts";
import type { AckNote } from "./admin-http.ts";
import { decodeJson } from "../shared/wire.ts";
import { typeUrls } from "./xds/resource.ts";

const MAX_PROBLEMS = 50;

/** Problems with the time since which each stands: a person asks first what is new. */
export function createProblemBook(now: () => number): (problems: readonly Problem[]) => readonly StatusProblem[] {
  let since = new Map<string, number>();
  return (problems) => {
    const next = new Map<string, number>();
    const told = problems.map((problem) => {
      const { code, message, field } = problem;
      const object = objectText(problem);
      const text = field === undefined ? message : `${field}: ${message}`;
      const key = `${code} ${object} ${text}`;
      const sinceMs = since.get(key) ?? now();
      next.set(key, sinceMs);
      return { code, object, message: text, sinceMs };
    });
    since = next;
    return told.sort((a, b) => b.sinceMs - a.sinceMs).slice(0, MAX_PROBLEMS);
  };
}

function objectText({ object }: Problem): string {
  if (object === undefined) return "";
  const place = object.namespace === undefined ? "" : `${object.namespace}/`;
  return `${object.kind} ${place}${object.name}`;
}

/** An ACK with the content of what was accepted. Secrets are named, never shown. */
export function ackNote(event: AckEvent, atMs: number): AckNote {
  const { type, peer, resources, removed } = event;
  return {
    atMs,
    pod: peer.podName,
    type,
    resources: resources.map(({ name, version, bytes }) =>
      type === "sds" ? { name, version } : { name, version, value: decodeJson(typeUrls[type], bytes) },
    ),
    removed,
  };
}
