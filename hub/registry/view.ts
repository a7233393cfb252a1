// The registry in a hub's memory: every record, and the latest changes so that a watcher can go on from a cursor.
// Fed by store/change-feed.ts in the order of revisions; read by api/watch.ts. Applying a change twice is harmless.
import type { RegistryChange, RegistryRecord } from "../../shared/registry.ts";

export interface RegistrySnapshot {
  readonly incarnation: string;
  readonly revision: number;
  readonly records: Iterable<RegistryPut>;
}

export type RegistryPut = Extract<RegistryChange, { op: "put" }>;

/** A revision that concerns no watcher (a member's state, a record that could not be read): it only keeps the order whole. */
export interface QuietChange {
  readonly op: "quiet";
  readonly revision: number;
}

export type Applied = "applied" | "already-known" | "gap";

export class RegistryView {
  readonly incarnation: string;
  readonly #records = new Map<string, RegistryPut>();
  /** The latest changes in order of revision; the last one is at `#revision`. Shared by all watchers: their cursors point into it. */
  #log: (RegistryChange | QuietChange)[] = [];
  readonly #capacity: number;
  #revision: number;

  /** `capacity`: changes kept. A watcher further behind takes a full list, so it bounds memory whatever watchers do. */
  constructor(snapshot: RegistrySnapshot, capacity = 10_000) {
    this.incarnation = snapshot.incarnation;
    this.#revision = snapshot.revision;
    this.#capacity = capacity;
    for (const put of snapshot.records) this.#records.set(put.key, put);
  }

  /** After a restart: the changes that led to the snapshot, so that watchers which kept up are not sent a full list. */
  recall(changes: readonly (RegistryChange | QuietChange)[]): void {
    const whole = changes.every(({ revision }, at) => revision === this.#revision - changes.length + 1 + at);
    if (this.#log.length === 0 && whole) this.#log = [...changes];
  }

  get revision(): number {
    return this.#revision;
  }

  get size(): number {
    return this.#records.size;
  }

  /** A gap means that changes were missed: the caller takes a new snapshot, this view can no longer be trusted. */
  apply(change: RegistryChange | QuietChange): Applied {
    if (change.revision <= this.#revision) return "already-known";
    if (change.revision !== this.#revision + 1) return "gap";
    this.#revision = change.revision;
    this.#log.push(change);
    // dropped in halves: shifting one by one would cost O(capacity) per change
    if (this.#log.length > this.#capacity * 2) this.#log = this.#log.slice(-this.#capacity);
    if (change.op === "put") this.#records.set(change.key, change);
    else if (change.op === "delete") this.#records.delete(change.key);
    return "applied";
  }

  /** Changes after `revision` in order, or undefined when they are no longer (or not yet) known here: list instead. */
  since(revision: number): readonly (RegistryChange | QuietChange)[] | undefined {
    const behind = this.#revision - revision;
    if (behind < 0 || behind > this.#log.length) return undefined;
    return behind === 0 ? [] : this.#log.slice(-behind);
  }

  /** Every record with the revision that wrote it, as of `revision`. */
  list(): readonly RegistryPut[] {
    return [...this.#records.values()];
  }

  get(key: string): RegistryRecord | undefined {
    return this.#records.get(key)?.record;
  }
}
