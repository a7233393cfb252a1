// The Kubernetes API as the agent uses it: objects in and out as plain JSON, lists in pages, watches as a stream of
// batches. Every failure is an ApiError. It retries nothing: who waits decides (list-watch.ts, writer.ts).
import { ApiError } from "./api-error.ts";
import type { Connection } from "./connection.ts";
import { fieldOf, stringOf, type JsonObject } from "./json.ts";
import { titleOf, type ObjectPath } from "./resources.ts";
import { defaultSessionOptions, holdSession } from "./session.ts";
import { openWatch, selectionQuery, type Selection, type WatchEvent, type WatchFrom } from "./watch-stream.ts";
import { exchange, type ClientOptions, type Wire } from "./wire.ts";

export interface ListPage {
  readonly items: readonly unknown[];
  readonly resourceVersion: string;
  /** Empty on the last page; a list without its last page is no list. */
  readonly next: string;
}

export interface KubeClient {
  get(at: ObjectPath, signal?: AbortSignal): Promise<JsonObject>;
  create(at: ObjectPath, body: JsonObject): Promise<JsonObject>;
  /** PUT: `metadata.resourceVersion` in the body makes it a compare-and-set. */
  replace(at: ObjectPath, body: JsonObject): Promise<JsonObject>;
  /** Server-side apply: creates or updates; `force` takes fields over from other managers. */
  apply(at: ObjectPath, body: JsonObject, force?: boolean): Promise<JsonObject>;
  mergePatch(at: ObjectPath, body: JsonObject): Promise<JsonObject>;
  /** With `uid`: only that object, not a later one of the same name. */
  remove(at: ObjectPath, uid?: string): Promise<void>;
  /** `limit` 0: everything in one answer. */
  listPage(at: ObjectPath, page: Selection & { limit: number; next: string }, signal: AbortSignal): Promise<ListPage>;
  /** Resolves when the server has accepted the watch. Ends when the server ends it; throws when it breaks. */
  watch(at: ObjectPath, from: WatchFrom, signal: AbortSignal): Promise<AsyncGenerator<readonly WatchEvent[]>>;
  /** Resolves when the next session to the server is made. */
  nextSession(): Promise<void>;
  close(): void;
}

export const fieldManager = "isthmus-agent";
const defaults: ClientOptions = { ...defaultSessionOptions, requestTimeoutMs: 30_000, userAgent: fieldManager };

export function createClient(connection: Connection, given: Partial<ClientOptions> = {}): KubeClient {
  const options = { ...defaults, ...given };
  const wire: Wire = { connection, options, sessions: holdSession(connection, options) };
  const managed = { fieldManager };
  return {
    get: (at, signal) => exchange(wire, { method: "GET", at, ...(signal && { signal }) }),
    create: (at, body) => exchange(wire, { method: "POST", at, query: managed, body }),
    replace: (at, body) => exchange(wire, { method: "PUT", at, query: managed, body }),
    apply: (at, body, force = false) => {
      const query = { fieldManager, force: String(force) };
      return exchange(wire, { method: "PATCH", at, query, body, contentType: "application/apply-patch+yaml" });
    },
    mergePatch: (at, body) =>
      exchange(wire, { method: "PATCH", at, query: managed, body, contentType: "application/merge-patch+json" }),
    remove: async (at, uid) => {
      const preconditions = uid === undefined ? {} : { preconditions: { uid } };
      const body = { kind: "DeleteOptions", apiVersion: "v1", propagationPolicy: "Background", ...preconditions };
      await exchange(wire, { method: "DELETE", at, body });
    },
    listPage: async (at, page, signal) => {
      const query = {
        ...selectionQuery(page),
        ...(page.limit > 0 && { limit: String(page.limit) }),
        ...(page.next && { continue: page.next }),
      };
      return pageOf(titleOf(at), await exchange(wire, { method: "GET", at, query, signal }));
    },
    watch: (at, from, signal) => openWatch(wire, at, from, signal),
    nextSession: () => wire.sessions.next(),
    close: () => wire.sessions.close(),
  };
}

function pageOf(what: string, body: JsonObject): ListPage {
  const items = fieldOf(body, "items") ?? [];
  const resourceVersion = stringOf(fieldOf(body, "metadata", "resourceVersion"));
  if (!Array.isArray(items) || resourceVersion === "") {
    throw new ApiError("unreachable", `list ${what}: the answer is not a list`);
  }
  return { items: items as readonly unknown[], resourceVersion, next: stringOf(fieldOf(body, "metadata", "continue")) };
}
