// What this hub knows of the registry right now: the view, the members, and whether the connection to Redis lives.
// Fed by change-feed.ts alone; watchers subscribe and read. Keeps the last state when Redis is away.
import type { ClusterName } from "../../shared/ids.ts";
import type { Log } from "../../shared/log.ts";
import type { RegistryChange } from "../../shared/registry.ts";
import type { AddressRules } from "../../shared/grpc/gateway-host.ts";
import { decodeRecord } from "../registry/decide.ts";
import { isMemberKey, type Member } from "../registry/member.ts";
import { RegistryView, type QuietChange } from "../registry/view.ts";
import type { MembershipMemory } from "./membership-memory.ts";
import type { StoredChange, StoredSnapshot } from "./redis-registry.ts";

export interface StoredMember {
  readonly member: Member;
  readonly revision: number;
}

export class LiveRegistry {
  #view: RegistryView | undefined;
  #members = new Map<ClusterName, StoredMember>();
  #connected = false;
  #restored = false;
  readonly #listeners = new Set<() => void>();
  readonly #rules: AddressRules;
  readonly #log: Log;
  readonly #memory: MembershipMemory;
  #corruptRecords = 0;

  constructor(rules: AddressRules, memory: MembershipMemory, log: Log) {
    this.#rules = rules;
    this.#memory = memory;
    this.#log = log;
  }

  /** Undefined until the first snapshot. A new object means that cursors into the old one are void. */
  get view(): RegistryView | undefined {
    return this.#view;
  }

  get members(): ReadonlyMap<ClusterName, StoredMember> {
    return this.#members;
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** The data went back in time and waits for an operator's word. */
  get restored(): boolean {
    return this.#restored;
  }

  get corruptRecords(): number {
    return this.#corruptRecords;
  }

  /** Called after every burst of changes, once; the listener reads what it needs. Returns the way to stop. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  load(snapshot: StoredSnapshot, tail: readonly StoredChange[]): void {
    this.#members = new Map();
    this.#restored = snapshot.restored;
    const puts = snapshot.entries.map((entry) => this.#decode(entry)).filter((change) => change.op === "put");
    const { incarnation, revision } = snapshot;
    const view = new RegistryView({ incarnation, revision, records: puts });
    view.recall(tail.map((entry) => this.#toChange(entry)));
    this.#view = view;
    this.#notify();
  }

  /** False: a revision is missing, take a snapshot. */
  apply(changes: readonly StoredChange[]): boolean {
    for (const change of changes) {
      if (this.#view?.apply(this.#decode(change)) === "gap") return false;
    }
    if (changes.length > 0) this.#notify();
    return true;
  }

  setConnected(connected: boolean): void {
    if (this.#connected === connected) return;
    this.#connected = connected;
    this.#notify();
  }

  setRestored(restored: boolean): void {
    this.#restored = restored;
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Members are taken note of on the way; watchers see a quiet revision. */
  #decode(stored: StoredChange): RegistryChange | QuietChange {
    if (isMemberKey(stored.key)) this.#rememberMember(stored);
    return this.#toChange(stored);
  }

  #toChange({ key, revision, text }: StoredChange): RegistryChange | QuietChange {
    if (isMemberKey(key)) return { op: "quiet", revision };
    if (text === undefined) return { op: "delete", key, revision };
    const record = decodeRecord(key, text, this.#rules);
    if (record.ok) return { op: "put", key, revision, record: record.value };
    this.#countCorrupt(key);
    return { op: "quiet", revision };
  }

  #rememberMember({ key, revision, text }: StoredChange): void {
    const known = this.#members.get(key.slice("!member/".length) as ClusterName);
    // the feed repeats itself after a lost connection
    if (known !== undefined && known.revision >= revision) return;
    const member = this.#memory.open(key, text);
    if (member.ok) this.#members.set(member.value.cluster, { member: member.value, revision });
    else this.#countCorrupt(key);
  }

  #countCorrupt(key: string): void {
    this.#corruptRecords += 1;
    this.#log.error("a record in Redis is malformed and is left out", { key });
  }
}
