// The registry in Redis: atomic writes, consistent snapshots and the change stream. Called by api/ (writes) and
// change-feed.ts (reads). Knows texts and revisions only; what a record means is decided in hub/registry.
import type { Redis } from "ioredis";
import { randomBytes } from "node:crypto";
import type { ClusterName } from "../../shared/ids.ts";
import type { RedisKeys } from "./keys.ts";
import type { Scripts } from "./scripts.ts";

/** About a day of a busy fleet; a hub that is further behind takes a snapshot. */
export const streamLength = 100_000;
/** A publisher that neither writes nor touches for this long no longer holds an older one off. */
export const publisherLiveMs = 15_000;
/** How long an operator's write may be repeated with the same id. */
const writeIdTtlMs = 600_000;

export interface StoredChange {
  readonly key: string;
  readonly revision: number;
  /** Undefined: deleted. */
  readonly text: string | undefined;
}

export interface StoredSnapshot {
  readonly incarnation: string;
  readonly revision: number;
  /** The data went back in time and no operator has confirmed that yet. */
  readonly restored: boolean;
  readonly entries: readonly StoredChange[];
}

export interface Mutation {
  readonly key: string;
  /** Undefined deletes. */
  readonly text: string | undefined;
  /** Compare-and-set: the revision the writer saw; 0 = must not exist. */
  readonly expectedRevision?: number;
}

export interface Publisher {
  readonly cluster: ClusterName;
  readonly session: string;
  readonly startedAtMs: number;
  readonly maxRecords: number;
}

export interface PublisherWrite {
  readonly incarnation: string;
  readonly writeId: string;
  readonly changes: readonly Mutation[];
}

export type WriteStatus = "written" | "repeated" | "fenced" | "conflict" | "quota" | "incarnation";

export interface WriteAnswer {
  readonly status: WriteStatus;
  readonly revision: number;
}

export interface Remembered {
  readonly incarnation: string;
  readonly revision: number;
}

export interface OpenAnswer extends Remembered {
  readonly state: "opened" | "created" | "restored";
  readonly restored: boolean;
}

export interface RegistryDeps {
  readonly redis: Redis;
  readonly scripts: Scripts;
  readonly keys: RedisKeys;
}

export class RedisRegistry {
  readonly #redis: Redis;
  readonly #scripts: Scripts;
  readonly #keys: RedisKeys;

  constructor({ redis, scripts, keys }: RegistryDeps) {
    this.#redis = redis;
    this.#scripts = scripts;
    this.#keys = keys;
  }

  /** Makes the first incarnation, or notices that the data is older than what is remembered. */
  async open(remembered: Remembered): Promise<OpenAnswer> {
    const fresh = randomBytes(12).toString("hex");
    const args = [fresh, remembered.incarnation, remembered.revision];
    const [state, incarnation, revision, restored] = await this.#scripts.call("open", [this.#keys.meta], args);
    return {
      state: state as OpenAnswer["state"],
      incarnation: String(incarnation),
      revision: Number(revision),
      restored: restored === "1",
    };
  }

  /** Records and revision of one moment (MULTI). */
  async snapshot(): Promise<StoredSnapshot> {
    const replies = await this.#redis.multi().hgetall(this.#keys.meta).hgetall(this.#keys.records).exec();
    const [meta, records] = (replies ?? []).map(([error, value]) => {
      if (error !== null) throw error;
      return value as Record<string, string>;
    });
    if (meta === undefined || records === undefined) throw new Error("redis refused the snapshot transaction");
    return {
      incarnation: meta["incarnation"] ?? "",
      revision: Number(meta["revision"] ?? 0),
      restored: meta["restored"] === "1",
      entries: Object.entries(records).map(([key, stored]) => parseStored(key, stored)),
    };
  }

  async head(): Promise<Remembered & { readonly restored: boolean }> {
    const [incarnation, revision, restored] = await this.#redis.hmget(
      this.#keys.meta,
      "incarnation",
      "revision",
      "restored",
    );
    return { incarnation: incarnation ?? "", revision: Number(revision ?? 0), restored: restored === "1" };
  }

  /** The last changes up to `revision`, oldest first, so that watchers can resume across a restart of the hub. */
  async tail(revision: number, count: number): Promise<readonly StoredChange[]> {
    const entries = await this.#redis.xrevrange(this.#keys.stream, `${revision}-0`, "-", "COUNT", count);
    return entries.reverse().map(([id, fields]) => parseEntry(id, fields));
  }

  async record(key: string): Promise<StoredChange | undefined> {
    const stored = await this.#redis.hget(this.#keys.records, key);
    return stored === null ? undefined : parseStored(key, stored);
  }

  ownedKeys(cluster: ClusterName): Promise<string[]> {
    return this.#redis.smembers(this.#keys.owned(cluster));
  }

  /** One publisher's changes. `writeId` names this write and all its retries. */
  async publish(publisher: Publisher, write: PublisherWrite): Promise<WriteAnswer> {
    const { cluster, session, startedAtMs, maxRecords } = publisher;
    const { incarnation, writeId, changes } = write;
    const head = [incarnation, writeId, session, startedAtMs, publisherLiveMs, maxRecords, streamLength, 0];
    return this.#mutate(cluster, this.#keys.writer(cluster), [...head, ...flatten(changes)]);
  }

  /** An operator's or the hub's own change: of members, or the removal of a member's records. */
  async write(cluster: ClusterName, incarnation: string, changes: readonly Mutation[]): Promise<WriteAnswer> {
    const writeId = randomBytes(12).toString("hex");
    const head = [incarnation, writeId, "", 0, 0, 0, streamLength, writeIdTtlMs];
    return this.#mutate(cluster, this.#keys.write(writeId), [...head, ...flatten(changes)]);
  }

  async #mutate(cluster: ClusterName, idempotency: string, args: readonly (string | number)[]): Promise<WriteAnswer> {
    const { meta, records, stream } = this.#keys;
    const places = [meta, records, stream, idempotency, this.#keys.owned(cluster)];
    const [status, revision] = await this.#scripts.call("mutate", places, args);
    return { status: String(status) as WriteStatus, revision: Number(revision) };
  }

  /** Keeps a quiet publisher live (0: lets it go). False: another session holds the cluster now. */
  async touch(publisher: Publisher, liveMs: number): Promise<boolean> {
    const args = [publisher.session, liveMs];
    const [held] = await this.#scripts.call("touch", [this.#keys.writer(publisher.cluster)], args);
    return held === 1;
  }

  /** An operator looked at a restored registry and lets tokens be redeemed again. */
  async confirmRestore(): Promise<void> {
    await this.#redis.hset(this.#keys.meta, "restored", "0");
  }
}

function flatten(changes: readonly Mutation[]): (string | number)[] {
  return changes.flatMap(({ key, text, expectedRevision }) => [
    key,
    text === undefined ? "delete" : "put",
    text ?? "",
    expectedRevision ?? "",
  ]);
}

function parseStored(key: string, stored: string): StoredChange {
  const space = stored.indexOf(" ");
  return { key, revision: Number(stored.slice(0, space)), text: stored.slice(space + 1) };
}

export function parseEntry(id: string, fields: readonly string[]): StoredChange {
  const value = (name: string) => {
    const at = fields.findIndex((field, index) => index % 2 === 0 && field === name);
    return at < 0 ? undefined : fields[at + 1];
  };
  return { key: value("k") ?? "", revision: Number(id.slice(0, id.indexOf("-"))), text: value("v") };
}
