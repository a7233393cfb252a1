// A member's Watch stream: full list or deltas from a cursor, then every change as it happens. A watcher is a cursor into
// the view's log, not a queue: a slow one costs no memory, falls behind, and is sent a full list when the log has moved on.
import type { RegistryChange } from "../../shared/registry.ts";
import type { TrustBundle, WatchEvent, WatchRequest } from "../../shared/grpc/fleet-messages.ts";
import { watchEventCodec } from "../../shared/grpc/fleet-service.ts";
import { toWire } from "../../shared/grpc/record-wire.ts";
import type { ClusterName } from "../../shared/ids.ts";
import type { QuietChange, RegistryPut, RegistryView } from "../registry/view.ts";
import { isFor, mayImport } from "../registry/visibility.ts";

export type ResyncReason = "first-list" | "other-incarnation" | "too-far-behind" | "registry-reloaded";

/** Turns changes into bytes once, however many watchers there are. */
export class EventBytes {
  readonly #changes = new WeakMap<RegistryChange, Buffer>();
  readonly #bundles = new WeakMap<TrustBundle, Buffer>();
  #mark: { readonly key: string; readonly bytes: Buffer } | undefined;

  change(change: RegistryChange): Buffer {
    const known = this.#changes.get(change);
    if (known !== undefined) return known;
    const { revision } = change;
    const bytes = watchEventCodec.encode({
      event: "change",
      change:
        change.op === "put"
          ? { revision, op: "put", put: toWire(change.record) }
          : { revision, op: "deleteKey", deleteKey: change.key },
    });
    this.#changes.set(change, bytes);
    return bytes;
  }

  /** A change as those see it who may not have its record. */
  withdrawal({ key, revision }: RegistryPut): Buffer {
    return watchEventCodec.encode({ event: "change", change: { revision, op: "deleteKey", deleteKey: key } });
  }

  bundle(bundle: TrustBundle): Buffer {
    const known = this.#bundles.get(bundle) ?? watchEventCodec.encode({ event: "bundle", bundle });
    this.#bundles.set(bundle, known);
    return known;
  }

  /** Bookmarks go to all watchers with the same content: the last one is kept. */
  mark(event: "synced" | "bookmark", incarnation: string, revision: number): Buffer {
    const key = `${event} ${incarnation} ${revision}`;
    if (this.#mark?.key !== key) {
      const mark = { incarnation, revision };
      const message: WatchEvent = event === "synced" ? { event, synced: mark } : { event, bookmark: mark };
      this.#mark = { key, bytes: watchEventCodec.encode(message) };
    }
    return this.#mark.bytes;
  }
}

export interface WatcherDeps {
  readonly view: () => RegistryView | undefined;
  readonly bundle: () => TrustBundle;
  readonly bytes: EventBytes;
  readonly onResync: (reason: ResyncReason) => void;
  /** False: the stream is full; `drained` follows. */
  readonly write: (bytes: Buffer) => boolean;
}

interface FullList {
  readonly entries: readonly RegistryPut[];
  readonly revision: number;
  next: number;
}

export class Watcher {
  readonly #deps: WatcherDeps;
  readonly #cluster: ClusterName;
  #view: RegistryView | undefined;
  #cursor: number;
  /** The revision that the watcher has been told of, by a change or a bookmark. */
  #told: number;
  #incarnation: string;
  #list: FullList | undefined;
  #synced = false;
  #bundle: TrustBundle | undefined;
  #full = false;

  constructor(deps: WatcherDeps, cluster: ClusterName, request: WatchRequest) {
    this.#deps = deps;
    this.#cluster = cluster;
    this.#incarnation = request.incarnation;
    this.#cursor = request.revision;
    this.#told = request.revision;
  }

  drained(): void {
    this.#full = false;
    this.pump();
  }

  /** Sends all that the watcher lacks and the stream takes. Called after every burst of changes. */
  pump(): void {
    const view = this.#deps.view();
    if (this.#isFull() || view === undefined) return;
    this.#sendBundle();
    if (view !== this.#view) this.#follow(view);
    while (this.#advance(view)) continue;
  }

  /** Every few seconds: proof of life, and the cursor to resume from. Not in the middle of a list. */
  bookmark(): void {
    this.pump();
    if (!this.#isFull() && this.#synced && this.#list === undefined) this.#mark("bookmark");
  }

  /** A method, because the compiler believes that a field read once stays as it was. */
  #isFull(): boolean {
    return this.#full;
  }

  #write(bytes: Buffer): void {
    // written even when full: Node buffers that one; the next waits for the drain
    this.#full = !this.#deps.write(bytes);
  }

  #sendBundle(): void {
    const bundle = this.#deps.bundle();
    if (bundle === this.#bundle) return;
    this.#bundle = bundle;
    this.#write(this.#deps.bytes.bundle(bundle));
  }

  /** Another view: the first one, or the hub had to take a snapshot. The cursor is good within the same incarnation. */
  #follow(view: RegistryView): void {
    const isFirst = this.#view === undefined;
    this.#view = view;
    if (this.#incarnation === "") this.#startList(view, "first-list");
    else if (this.#incarnation !== view.incarnation) this.#startList(view, "other-incarnation");
    else if (this.#list !== undefined || view.since(this.#cursor) === undefined) {
      this.#startList(view, isFirst ? "too-far-behind" : "registry-reloaded");
    }
  }

  #startList(view: RegistryView, reason: ResyncReason): void {
    this.#deps.onResync(reason);
    this.#incarnation = view.incarnation;
    this.#list = { entries: view.list(), revision: view.revision, next: 0 };
    this.#synced = false;
    this.#write(watchEventCodec.encode({ event: "resync", resync: { reason } }));
  }

  /** One step; false when there is nothing left to send. */
  #advance(view: RegistryView): boolean {
    if (this.#isFull()) return false;
    if (this.#list !== undefined) return this.#sendList(this.#list);
    const changes = view.since(this.#cursor);
    if (changes === undefined) {
      this.#startList(view, "too-far-behind");
      return true;
    }
    for (const change of changes) {
      if (this.#isFull()) return false;
      this.#sendChange(change);
    }
    if (this.#isFull()) return false;
    if (!this.#synced) this.#mark("synced");
    else if (this.#told !== this.#cursor) this.#mark("bookmark");
    return false;
  }

  #sendList(list: FullList): boolean {
    while (list.next < list.entries.length) {
      if (this.#isFull()) return false;
      const entry = list.entries[list.next++];
      if (entry !== undefined && mayImport(this.#cluster, entry.key) && isFor(this.#cluster, entry.record))
        this.#write(this.#deps.bytes.change(entry));
    }
    if (this.#isFull()) return false;
    this.#list = undefined;
    this.#cursor = list.revision;
    this.#mark("synced");
    return true;
  }

  #sendChange(change: RegistryChange | QuietChange): void {
    this.#cursor = change.revision;
    if (change.op === "quiet" || !mayImport(this.#cluster, change.key)) return;
    this.#told = change.revision;
    const { bytes } = this.#deps;
    const isGone = change.op === "put" && !isFor(this.#cluster, change.record);
    this.#write(isGone ? bytes.withdrawal(change) : bytes.change(change));
  }

  #mark(event: "synced" | "bookmark"): void {
    this.#told = this.#cursor;
    if (event === "synced") this.#synced = true;
    this.#write(this.#deps.bytes.mark(event, this.#incarnation, this.#cursor));
  }
}
