// A member's Publish stream: batches are decided in order, coalesced while a write is under way, written by one call to
// Redis, and acknowledged in order once Redis has them on its disk. One round trip per write, never one per change.
import { status, type ServerDuplexStream, type ServiceError } from "@grpc/grpc-js";
import { randomBytes } from "node:crypto";
import type { Clock } from "../../shared/clock.ts";
import type { PublishAck, PublishBatch } from "../../shared/grpc/fleet-messages.ts";
import { fleetError } from "../../shared/grpc/fleet-status.ts";
import { maxBatchRecords } from "../../shared/grpc/fleet-service.ts";
import type { ClusterName } from "../../shared/ids.ts";
import type { Log } from "../../shared/log.ts";
import {
  decidePublish,
  encodeRecord,
  staleKeys,
  wireKey,
  type PublishDecision,
  type PublishRules,
} from "../registry/decide.ts";
import type { LiveRegistry } from "../store/live-registry.ts";
import { isRedisFailure } from "../store/redis-connection.ts";
import { publisherLiveMs, type Mutation, type Publisher, type RedisRegistry } from "../store/redis-registry.ts";
import { registryUnavailable } from "./call.ts";
import type { HubMetrics } from "./metrics.ts";

/** Batches held of one agent; then its stream is not read until a write is done. */
const maxQueuedBatches = 64;
/** Changes put into one call to Redis: it runs alone, so a longer one would hold up everybody. */
const maxChangesPerWrite = 1_000;
/** A write is tried again for this long (a Redis that restarts is back sooner), then the agent starts over. */
const writePatienceMs = 5_000;
const writeRetryMs = 25;

export interface PublishDeps {
  readonly registry: RedisRegistry;
  readonly live: LiveRegistry;
  readonly rules: PublishRules;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: HubMetrics;
}

type Stream = Pick<ServerDuplexStream<PublishBatch, PublishAck>, "write" | "pause" | "resume">;

interface Decided {
  readonly batch: PublishBatch;
  readonly problems: PublishDecision["problems"];
}

/** One stream. `receive` and `runWrites` are its two sides; the queue between them is bounded. */
export class PublishSession {
  readonly #deps: PublishDeps;
  readonly #cluster: ClusterName;
  readonly #stream: Stream;
  readonly #signal: AbortSignal;
  readonly #queue: PublishBatch[] = [];
  readonly #streamId = randomBytes(8).toString("hex");
  #wake: () => void = doNothing;
  #finished = false;
  /** Another session holds the cluster now. */
  #lost = false;
  #writes = 0;
  #lastSequence = 0;
  #publisher: Publisher | undefined;
  #incarnation = "";
  #revision = 0;
  /** Keys the member holds, as far as this stream has decided. */
  #own = new Set<string>();
  /** Keys named since the stream began; undefined once the full set has ended. */
  #named: Set<string> | undefined = new Set();

  constructor(deps: PublishDeps, cluster: ClusterName, stream: Stream, signal: AbortSignal) {
    this.#deps = deps;
    this.#cluster = cluster;
    this.#stream = stream;
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#wake(), { once: true });
  }

  receive(batch: PublishBatch): void {
    this.#queue.push(batch);
    if (this.#queue.length >= maxQueuedBatches) this.#stream.pause();
    this.#wake();
  }

  /** The agent sends no more: what it has sent is still written and acknowledged. */
  finish(): void {
    this.#finished = true;
    this.#wake();
  }

  /** Ends when the agent is done or the signal aborts; throws the status that the stream must end with. */
  async runWrites(): Promise<void> {
    const done = new AbortController();
    const touching = this.#keepLive(AbortSignal.any([this.#signal, done.signal]));
    try {
      while (!this.#signal.aborted) {
        if (this.#lost) throw fenced(this.#cluster);
        if (this.#queue.length > 0) await this.#writeNext(await this.#claim(this.#queue[0]));
        else if (this.#finished) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      done.abort(new Error("the stream has ended"));
      await touching;
      await this.#release();
    }
  }

  /** The first batch says who publishes. An empty write takes the fence before anything is compared with what is held. */
  async #claim(first: PublishBatch | undefined): Promise<Publisher> {
    if (this.#publisher !== undefined) return this.#publisher;
    const { session = "", startedAtMs = 0 } = first ?? {};
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(session)) throw badStream("session must be 1 to 64 letters and digits");
    const publisher: Publisher = {
      cluster: this.#cluster,
      session,
      // an agent whose clock runs ahead must not hold off its successors
      startedAtMs: Math.min(startedAtMs, this.#deps.clock.now()),
      maxRecords: this.#deps.rules.maxRecords,
    };
    const { view } = this.#deps.live;
    if (view === undefined) throw registryUnavailable();
    this.#incarnation = view.incarnation;
    await this.#write(publisher, []);
    this.#own = new Set(await this.#retrying(() => this.#deps.registry.ownedKeys(this.#cluster)));
    this.#publisher = publisher;
    return publisher;
  }

  async #writeNext(publisher: Publisher): Promise<void> {
    const changes = new Map<string, Mutation>();
    const decided: Decided[] = [];
    while (this.#queue.length > 0 && changes.size < maxChangesPerWrite) {
      const batch = this.#queue.shift();
      if (batch !== undefined) decided.push(this.#decide(publisher, batch, changes));
    }
    this.#stream.resume();
    if (changes.size > 0) await this.#write(publisher, [...changes.values()]);
    for (const { batch, problems } of decided) {
      this.#stream.write({ sequence: batch.sequence, revision: this.#revision, problems });
    }
  }

  #decide(publisher: Publisher, batch: PublishBatch, changes: Map<string, Mutation>): Decided {
    this.#checkOrder(publisher, batch);
    const { puts, deleteKeys, problems } = decidePublish(this.#cluster, batch, this.#own, this.#deps.rules);
    for (const key of deleteKeys) this.#forget(key, changes);
    for (const [key, record] of puts) {
      changes.set(key, { key, text: encodeRecord(record) });
      this.#own.add(key);
      this.#named?.add(key);
    }
    // a refused record is named too: its last good version stays
    for (const put of batch.puts) this.#named?.add(wireKey(put));
    if (batch.synced && this.#named !== undefined) {
      for (const key of staleKeys(this.#own, this.#named)) this.#forget(key, changes);
      this.#named = undefined;
    }
    this.#deps.metrics.published.inc({ result: "taken" }, puts.size);
    this.#deps.metrics.published.inc({ result: "refused" }, problems.length);
    return { batch, problems };
  }

  #forget(key: string, changes: Map<string, Mutation>): void {
    changes.set(key, { key, text: undefined });
    this.#own.delete(key);
  }

  #checkOrder(publisher: Publisher, batch: PublishBatch): void {
    if (batch.session !== publisher.session) throw badStream("session changed within the stream");
    if (batch.sequence <= this.#lastSequence) throw badStream("sequence must rise");
    if (batch.puts.length > maxBatchRecords) throw badStream(`more than ${maxBatchRecords} records in one batch`);
    this.#lastSequence = batch.sequence;
  }

  async #write(publisher: Publisher, changes: readonly Mutation[]): Promise<void> {
    const writeId = `${this.#streamId}:${++this.#writes}`;
    const stopTimer = this.#deps.metrics.writeSeconds.startTimer();
    const write = { incarnation: this.#incarnation, writeId, changes };
    const answer = await this.#retrying(() => this.#deps.registry.publish(publisher, write));
    stopTimer();
    switch (answer.status) {
      case "written":
      case "repeated":
        this.#revision = answer.revision;
        return;
      case "fenced":
        this.#deps.metrics.fenced.inc();
        throw fenced(this.#cluster);
      case "incarnation":
        throw registryRestarted();
      case "quota":
      case "conflict":
        throw registryBusy();
    }
  }

  /** The same write id every time: a write whose answer was lost is not done twice. */
  async #retrying<T>(attempt: () => Promise<T>): Promise<T> {
    const { clock } = this.#deps;
    const deadline = clock.now() + writePatienceMs;
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        if (!isRedisFailure(error)) throw error;
        if (clock.now() > deadline) throw registryUnavailable();
        await clock.sleep(writeRetryMs, this.#signal);
      }
    }
  }

  /** A publisher with nothing to say stays the publisher, and notices when another one has taken over. */
  async #keepLive(signal: AbortSignal): Promise<void> {
    const { clock, registry } = this.#deps;
    for (;;) {
      const slept = await clock.sleep(publisherLiveMs / 3, signal).then(
        () => true,
        () => false,
      );
      if (!slept) return;
      if (this.#publisher === undefined) continue;
      // with Redis away the next touch or write tells; nobody else can take over meanwhile either
      const held = await registry.touch(this.#publisher, publisherLiveMs).catch(ignoreRedis);
      if (held !== false) continue;
      this.#lost = true;
      this.#wake();
    }
  }

  async #release(): Promise<void> {
    if (this.#publisher !== undefined) await this.#deps.registry.touch(this.#publisher, 0).catch(ignoreRedis);
  }
}

function doNothing(): void {
  return;
}

function ignoreRedis(error: unknown): void {
  if (!isRedisFailure(error)) throw error;
}

function badStream(message: string): ServiceError {
  return fleetError({ status: status.INVALID_ARGUMENT, code: "ISTHMUS_PUBLISH_STREAM", message });
}

function fenced(cluster: ClusterName): ServiceError {
  return fleetError({
    status: status.FAILED_PRECONDITION,
    code: "ISTHMUS_PUBLISHER_FENCED",
    message: `an agent of ${cluster} that started later publishes`,
    hint: "two agents believe to hold the Lease, or two clusters use one name: isthmus clusters",
  });
}

function registryRestarted(): ServiceError {
  return fleetError({
    status: status.UNAVAILABLE,
    code: "ISTHMUS_REGISTRY_RESTARTED",
    message: "the registry began anew; publish the full set again",
  });
}

function registryBusy(): ServiceError {
  return fleetError({
    status: status.RESOURCE_EXHAUSTED,
    code: "ISTHMUS_RECORD_QUOTA",
    message: "the member holds more records than its quota",
    hint: "export fewer services, or raise the hub's quota",
  });
}
