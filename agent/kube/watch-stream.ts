// A watch as a stream of batches: one batch per chunk received, so that a burst is one change to whoever listens.
// Used by client.ts. Ends when the server ends it (timeoutSeconds); throws an ApiError when it breaks.
import type { ClientHttp2Stream } from "node:http2";
import { ApiError, apiErrorOf, isApiError } from "./api-error.ts";
import { fieldOf, isObject, stringOf } from "./json.ts";
import { titleOf, type ObjectPath } from "./resources.ts";
import { reasonOf } from "./session.ts";
import { cutLines } from "./watch-lines.ts";
import { assertWhole, parseJson, readBody, send, type Query, type Wire } from "./wire.ts";

export interface Selection {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface WatchFrom extends Selection {
  readonly resourceVersion: string;
  readonly timeoutSeconds: number;
  /** No byte for this long ends the watch: the stream died though its connection lives (a proxy in between). */
  readonly inactivityMs: number;
}

export interface WatchEvent {
  readonly type: string;
  readonly object: unknown;
}

export function selectionQuery(selection: Selection): Query {
  return {
    ...(selection.labelSelector === undefined ? {} : { labelSelector: selection.labelSelector }),
    ...(selection.fieldSelector === undefined ? {} : { fieldSelector: selection.fieldSelector }),
  };
}

export async function openWatch(
  wire: Wire,
  at: ObjectPath,
  from: WatchFrom,
  signal: AbortSignal,
): Promise<AsyncGenerator<readonly WatchEvent[]>> {
  const query = {
    ...selectionQuery(from),
    watch: "true",
    allowWatchBookmarks: "true",
    resourceVersion: from.resourceVersion,
    timeoutSeconds: String(from.timeoutSeconds),
  };
  const what = `watch ${titleOf(at)}`;
  const opening = new AbortController();
  const timer = setTimeout(() => opening.abort(new Error("no answer in time")), wire.options.requestTimeoutMs);
  try {
    const answer = await send(wire, { method: "GET", at, query }, AbortSignal.any([signal, opening.signal]));
    if (answer.status !== 200) await readBody(wire, what, answer);
    answer.stream.setTimeout(from.inactivityMs, () => answer.stream.destroy(new Error("the watch is silent")));
    return readWatch(what, answer.stream, signal);
  } catch (error) {
    if (signal.aborted || isApiError(error)) throw error;
    throw new ApiError("unreachable", `${what}: ${reasonOf(error)}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

async function* readWatch(
  what: string,
  stream: ClientHttp2Stream,
  signal: AbortSignal,
): AsyncGenerator<readonly WatchEvent[]> {
  const lines = cutLines();
  try {
    for await (const chunk of stream) {
      const batch = lines.push(chunk as Buffer).map((line) => eventOf(what, line));
      if (batch.length > 0) yield batch;
    }
    assertWhole(stream, what);
  } catch (error) {
    if (signal.aborted || isApiError(error)) throw error;
    throw new ApiError("unreachable", `${what}: ${reasonOf(error)}`, { cause: error });
  } finally {
    stream.close();
  }
}

function eventOf(what: string, line: string): WatchEvent {
  const event = parseJson(line);
  const type = stringOf(fieldOf(event, "type"));
  const object = fieldOf(event, "object");
  if (type === "ERROR") throw apiErrorOf(what, Number(fieldOf(object, "code") ?? 500), object);
  if (type === "" || !isObject(object)) throw new ApiError("unreachable", `${what}: an event is not a watch event`);
  return { type, object };
}
