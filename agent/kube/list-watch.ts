// Keeps a sink equal to one collection of the API server: list once, then watch, for ever (a reflector). Run by kube.ts,
// one per resource. What it guarantees, each learned from a mesh that did not: a list that breaks off deletes nothing;
// an outage keeps the last state and says so; a relist after 410 touches only what differs; reconnects are spaced.
import { backoffDelayMs } from "../../shared/backoff.ts";
import type { Clock } from "../../shared/clock.ts";
import type { Log } from "../../shared/log.ts";
import { ApiError, isApiError } from "./api-error.ts";
import type { KubeClient } from "./client.ts";
import { fieldOf, stringOf } from "./json.ts";
import { sleepOrWake } from "../../shared/pause.ts";
import { apiVersionOf, type ResourceType } from "./resources.ts";
import type { Selection, WatchEvent } from "./watch-stream.ts";

/** Takes what the API server says, in order. */
export interface Sink {
  /** A complete list is coming, page by page; nothing of it counts before `commit`. A new `begin` drops an unfinished one. */
  begin(): void;
  page(items: readonly unknown[]): void;
  /** The list was complete: what it does not hold is deleted. */
  commit(): void;
  put(object: unknown): void;
  remove(object: unknown): void;
}

export type FeedState =
  /** Before the first complete list. */
  | { readonly state: "listing"; readonly sinceMs: number; readonly reason: string }
  /** `resource` as it is served here; undefined when no version of it is: then the collection is empty. */
  | { readonly state: "synced"; readonly sinceMs: number; readonly resource: ResourceType | undefined }
  /** The last known state stands, but nothing has confirmed it since. */
  | { readonly state: "stale"; readonly sinceMs: number; readonly reason: string };

export interface ListWatchDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  readonly onState: (state: FeedState) => void;
}

export interface ListWatchOptions extends Selection {
  /** In order of preference; the next one is tried where the server does not serve one (an older CRD). */
  readonly resources: readonly [ResourceType, ...ResourceType[]];
  readonly namespace?: string;
  readonly pageSize?: number;
}

const PAGE_SIZE = 500;
/** A watch lasts four to five minutes: the API server's load balancers see turnover, and no two watches end together. */
const WATCH_SECONDS = { min: 240, spread: 60 };
/** Three bookmarks missed (the API server sends one a minute). */
const INACTIVITY_MS = 185_000;
const backoff = { baseMs: 250, maxMs: 15_000 };
/** A watch that the server ends at once, again and again, is a failure, not a time-out (client-node #1933: a storm). */
const SHORT_WATCH_MS = 2_000;
/** A "404 page" while an API server starts must not empty a store; a resource that is really gone stays so. */
const ABSENT_ANSWERS = 3;

export async function runListWatch(
  options: ListWatchOptions,
  sink: Sink,
  deps: ListWatchDeps,
  signal: AbortSignal,
): Promise<void> {
  const feed = new Feed(options, sink, deps);
  while (!signal.aborted) {
    try {
      await feed.step(signal);
    } catch (error) {
      if (isAborted(signal)) return;
      if (!isApiError(error)) throw error;
      await feed.rest(error, signal);
    }
  }
}

/** As a function: the compiler believes that nothing changes between two reads of `aborted`. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

class Feed {
  readonly #options: ListWatchOptions;
  readonly #sink: Sink;
  readonly #deps: ListWatchDeps;
  #resource: ResourceType;
  /** Undefined: list first. */
  #version: string | undefined;
  #attempt = 0;
  /** When the last watch was accepted; undefined when none was since the last failure. */
  #openedMs: number | undefined;
  #absent = 0;
  #wholeList = false;
  /** A list has succeeded since the resource was last known to be absent. */
  #served = false;
  #state: FeedState;
  #everSynced = false;

  constructor(options: ListWatchOptions, sink: Sink, deps: ListWatchDeps) {
    this.#options = options;
    this.#sink = sink;
    this.#deps = deps;
    this.#resource = options.resources[0];
    this.#state = { state: "listing", sinceMs: deps.clock.now(), reason: "starting" };
  }

  /** One list (if needed) and one watch. Returns when the watch has ended in the ordinary way. */
  async step(signal: AbortSignal): Promise<void> {
    this.#version ??= await this.#list(signal);
    const { clock, client, random } = this.#deps;
    const batches = await client.watch(
      this.#at(),
      {
        ...this.#selection(),
        resourceVersion: this.#version,
        timeoutSeconds: WATCH_SECONDS.min + Math.floor(random() * WATCH_SECONDS.spread),
        inactivityMs: INACTIVITY_MS,
      },
      signal,
    );
    this.#openedMs = clock.now();
    this.#synced();
    for await (const batch of batches) for (const event of batch) this.#take(event);
    if (!this.#livedLong()) {
      throw new ApiError("server-error", `the API server ended the watch of ${this.#resource.plural} at once`);
    }
    this.#attempt = 0;
  }

  /** After a failure: says what holds now, then waits so that a fleet of watchers does not come back as one. */
  async rest(error: ApiError, signal: AbortSignal): Promise<void> {
    const { client, clock, log, random } = this.#deps;
    if (this.#livedLong()) this.#attempt = 0;
    this.#openedMs = undefined;
    const listing = this.#version === undefined;
    if (error.failure === "gone") this.#version = undefined;
    // pages that expire while we read them: the next list comes in one piece
    if (error.failure === "gone" && listing) this.#wholeList = true;
    if (error.failure === "not-found") {
      if (this.#tryNextVersion()) return;
    } else {
      this.#absent = 0;
      // a version that the server dropped is an ordinary end of a watch: the list that follows confirms or mends
      if (error.failure !== "gone" || listing) this.#failed(error);
    }
    const delayMs = Math.max(backoffDelayMs(this.#attempt, backoff, random()), error.retryAfterMs);
    this.#attempt += 1;
    log.debug("watch broke off", {
      resource: this.#resource.plural,
      failure: error.failure,
      reason: error.message,
      delayMs,
    });
    // an outage ends for all watches at once: the first one that gets through wakes those still backing off
    const connected = error.failure === "unreachable" ? client.nextSession() : undefined;
    await sleepOrWake(clock, delayMs, connected, signal);
  }

  async #list(signal: AbortSignal): Promise<string> {
    const limit = this.#wholeList ? 0 : (this.#options.pageSize ?? PAGE_SIZE);
    this.#sink.begin();
    let next = "";
    for (;;) {
      // no resourceVersion: a consistent read, so that a lagging replica cannot take us back in time (k/k#83520)
      const page = await this.#deps.client.listPage(this.#at(), { ...this.#selection(), limit, next }, signal);
      this.#sink.page(page.items);
      next = page.next;
      if (next === "") {
        this.#sink.commit();
        this.#absent = 0;
        this.#wholeList = false;
        this.#served = true;
        this.#synced();
        return page.resourceVersion;
      }
    }
  }

  #take(event: WatchEvent): void {
    if (event.type === "ADDED" || event.type === "MODIFIED") this.#sink.put(event.object);
    else if (event.type === "DELETED") this.#sink.remove(event.object);
    // a BOOKMARK carries nothing but the version
    const version = stringOf(fieldOf(event.object, "metadata", "resourceVersion"));
    if (version !== "") this.#version = version;
  }

  #livedLong(): boolean {
    return this.#openedMs !== undefined && this.#deps.clock.now() - this.#openedMs >= SHORT_WATCH_MS;
  }

  /** After a 404. True: another version is left to try at once. */
  #tryNextVersion(): boolean {
    const { resources } = this.#options;
    this.#absent += 1;
    this.#version = undefined;
    const wanted = apiVersionOf(this.#resource);
    this.#resource = resources[(resources.indexOf(this.#resource) + 1) % resources.length] ?? resources[0];
    if (this.#absent % resources.length !== 0) return true;
    if (this.#served && this.#absent < ABSENT_ANSWERS * resources.length) {
      this.#failed(new ApiError("not-found", `${wanted} is not served any more`));
      return false;
    }
    // served in no version: the collection is empty, for certain
    this.#served = false;
    this.#sink.begin();
    this.#sink.commit();
    this.#synced();
    return false;
  }

  #synced(): void {
    this.#everSynced = true;
    const resource = this.#served ? this.#resource : undefined;
    if (this.#state.state === "synced" && this.#state.resource === resource) return;
    this.#enter({ state: "synced", sinceMs: this.#deps.clock.now(), resource });
  }

  #failed(error: ApiError): void {
    const { state, sinceMs } = this.#state;
    const reason = error.message;
    if (!this.#everSynced) this.#enter({ state: "listing", sinceMs, reason });
    else this.#enter({ state: "stale", sinceMs: state === "stale" ? sinceMs : this.#deps.clock.now(), reason });
  }

  #enter(state: FeedState): void {
    this.#state = state;
    this.#deps.onState(state);
  }

  #at(): { resource: ResourceType; namespace?: string } {
    const { namespace } = this.#options;
    return { resource: this.#resource, ...(namespace === undefined ? {} : { namespace }) };
  }

  #selection(): Selection {
    const { labelSelector, fieldSelector } = this.#options;
    return {
      ...(labelSelector === undefined ? {} : { labelSelector }),
      ...(fieldSelector === undefined ? {} : { fieldSelector }),
    };
  }
}
