// What the other members publish, as this agent holds it: a level, kept through every loss of the hub. Fed by watch.ts with
// the events of one stream after another; read by the push loop. Decides only; it opens no connection and knows no time.
import type { WatchEvent, WireChange } from "../../shared/grpc/fleet-messages.ts";
import { fromWire } from "../../shared/grpc/record-wire.ts";
import type { ClusterName } from "../../shared/ids.ts";
import { recordKey, type Cursor, type RegistryRecord } from "../../shared/registry.ts";
import type { Problem } from "../../shared/result.ts";

export interface RemoteState {
  readonly records: readonly RegistryRecord[];
  readonly cursor: Cursor;
}

export interface RemoteRegistryOptions {
  readonly ownCluster: ClusterName;
  /** Gateways on loopback addresses are believed (several members on one machine). */
  readonly allowLoopback: boolean;
  /** The last good state of an earlier process. */
  readonly restored?: RemoteState | undefined;
}

/** What the hub did that no honest hub does; the stream ends and a full list is asked for. */
export type WatchFault = "revision went back" | "incarnation changed without resync" | "no list before synced";

export class RemoteRegistry {
  readonly #options: RemoteRegistryOptions;
  readonly #listeners = new Set<() => void>();
  #records = new Map<string, RegistryRecord>();
  #list: readonly RegistryRecord[] | undefined;
  /** Records that were refused, by key: an incompatible or hostile publisher harms itself alone. */
  #problems = new Map<string, readonly Problem[]>();
  #cursor: Cursor | undefined;
  #complete = false;
  #seenRevision = 0;
  /** The list under way; what is held stays in use until it is whole. */
  #pending: Map<string, RegistryRecord> | undefined;
  /** From a stream's start to its first mark the hub repeats what came after the cursor, some of it known already. */
  #replaying = false;

  constructor(options: RemoteRegistryOptions) {
    this.#options = options;
    const { restored } = options;
    if (restored === undefined) return;
    this.#records = new Map(restored.records.map((record) => [recordKey(record), record]));
    this.#moveTo(restored.cursor);
  }

  /** The same array as long as nothing changed. */
  records(): readonly RegistryRecord[] {
    this.#list ??= [...this.#records.values()];
    return this.#list;
  }

  /** A whole list was received once, or restored: from then on what is held may be acted on. */
  isComplete(): boolean {
    return this.#complete;
  }

  /** Where a watch resumes; undefined before the first complete list. */
  cursor(): Cursor | undefined {
    return this.#cursor;
  }

  /** The newest revision applied: what a status report tells. */
  appliedRevision(): number {
    return this.#seenRevision;
  }

  problems(): readonly Problem[] {
    return [...this.#problems.values()].flat();
  }

  /** Told synchronously after the records changed. Returns the way to stop listening. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A new stream begins at `cursor()`: a list that was cut off is dropped, what is held stays. */
  beginStream(): void {
    this.#pending = this.#cursor === undefined ? new Map() : undefined;
    this.#replaying = true;
  }

  /** The next stream asks for a full list; until that is whole, what is held stays in use. */
  forgetCursor(): void {
    this.#cursor = undefined;
  }

  /** Applies one event; a fault means that the stream must end. Bundles are not for this file. */
  apply(event: WatchEvent): WatchFault | undefined {
    switch (event.event) {
      case "resync":
        this.#pending = new Map();
        return undefined;
      case "change":
        return this.#pending === undefined ? this.#applyLive(event.change) : this.#collect(event.change, this.#pending);
      case "synced":
        return this.#applyMark(event.synced);
      case "bookmark":
        return this.#applyMark(event.bookmark);
      case "bundle":
      case undefined:
        return undefined;
    }
  }

  #collect(change: WireChange, pending: Map<string, RegistryRecord>): undefined {
    if (change.op === "deleteKey") pending.delete(change.deleteKey);
    if (change.op !== "put") return;
    const record = this.#read(change);
    if (record !== undefined) pending.set(recordKey(record), record);
  }

  #applyLive(change: WireChange): WatchFault | undefined {
    if (change.revision < this.#seenRevision) return this.#replaying ? undefined : "revision went back";
    this.#seenRevision = change.revision;
    if (change.op === "deleteKey") {
      this.#problems.delete(change.deleteKey);
      if (this.#records.delete(change.deleteKey)) this.#changed();
    }
    if (change.op === "put") {
      const record = this.#read(change);
      if (record !== undefined && !isSame(this.#records.get(recordKey(record)), record)) {
        this.#records.set(recordKey(record), record);
        this.#changed();
      }
    }
    return undefined;
  }

  #applyMark(mark: Cursor): WatchFault | undefined {
    if (this.#pending !== undefined) {
      this.#replaceBy(this.#pending);
      this.#pending = undefined;
    } else if (mark.incarnation !== this.#cursor?.incarnation) {
      return this.#cursor === undefined ? "no list before synced" : "incarnation changed without resync";
    } else if (mark.revision < this.#seenRevision) {
      return "revision went back";
    }
    this.#replaying = false;
    this.#moveTo(mark);
    return undefined;
  }

  #moveTo({ incarnation, revision }: Cursor): void {
    this.#cursor = { incarnation, revision };
    this.#seenRevision = revision;
    this.#complete = true;
  }

  #replaceBy(list: Map<string, RegistryRecord>): void {
    // the first whole list is news even when it is empty: now it is known to be
    let changed = list.size !== this.#records.size || !this.#complete;
    for (const [key, record] of list) {
      const held = this.#records.get(key);
      if (isSame(held, record)) list.set(key, held);
      else changed = true;
    }
    this.#records = list;
    this.#complete = true;
    if (changed) this.#changed();
  }

  /** A record of our own is never taken from outside; one that does not parse is refused, its last good version stays. */
  #read(change: WireChange & { readonly op: "put" }): RegistryRecord | undefined {
    const { ownCluster, allowLoopback } = this.#options;
    const { put } = change;
    if (put.cluster === ownCluster) return undefined;
    const record = fromWire(put, { allowLoopback });
    const key = record.ok ? recordKey(record.value) : `${put.cluster}/${put.kind ?? "unknown"}@${change.revision}`;
    if (record.ok) this.#problems.delete(key);
    else this.#problems.set(key, record.error);
    return record.ok ? record.value : undefined;
  }

  #changed(): void {
    this.#list = undefined;
    for (const listener of this.#listeners) listener();
  }
}

/** Records are flat and made in one key order (record-wire.ts), so their texts are equal exactly when they are. */
function isSame(held: RegistryRecord | undefined, record: RegistryRecord): held is RegistryRecord {
  return held !== undefined && JSON.stringify(held) === JSON.stringify(record);
}
