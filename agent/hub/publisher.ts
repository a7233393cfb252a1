// Publishes this member's records: given the whole desired set at every change, it sends the difference in the same tick; on
// a new stream the whole set, ended by `synced`. Its state is only what this stream has been told, so a restart is normal.
// Called by the push loop (setDesired) and session.ts (runStream). Nothing here polls.
import { randomBytes } from "node:crypto";
import type { Clock } from "../../shared/clock.ts";
import type { PublishAck, PublishBatch, RecordProblem, WireRecord } from "../../shared/grpc/fleet-messages.ts";
import { maxBatchRecords, type FleetClient } from "../../shared/grpc/fleet-service.ts";
import { toWire } from "../../shared/grpc/record-wire.ts";
import { recordKey, type RegistryRecord } from "../../shared/registry.ts";

/** As much of a gRPC stream as is used. */
type PublishCall = ReturnType<FleetClient["publish"]>;

interface Session {
  readonly id: string;
  readonly startedAtMs: number;
}

interface InFlight {
  readonly sequence: number;
  readonly putKeys: readonly string[];
  readonly deleteKeys: readonly string[];
}

interface Stream {
  readonly call: PublishCall;
  /** What the hub holds once it has acknowledged everything in flight. */
  readonly told: Map<string, RegistryRecord>;
  /** Batches in flight, oldest first: acknowledgements come in this order. */
  readonly inFlight: InFlight[];
  /** gRPC's buffer is full: the newest desired set waits for the drain, older ones are skipped. */
  full: boolean;
  synced: boolean;
}

export class Publisher {
  readonly #clock: Clock;
  #desired: ReadonlyMap<string, RegistryRecord> | undefined;
  #session: Session | undefined;
  #sequence = 0;
  #stream: Stream | undefined;
  #refused = new Map<string, RecordProblem>();
  /** Replaced, never changed: its identity tells that it is another. */
  #held: ReadonlySet<string> = new Set();
  readonly #listeners = new Set<() => void>();
  #activity: (() => void) | undefined;
  #acked: { readonly sequence: number; readonly revision: number } = { sequence: 0, revision: 0 };
  #end: (reason: Error) => void = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The whole set that this member publishes. undefined: another replica does. Sends what differs before it returns. */
  setDesired(records: readonly RegistryRecord[] | undefined): void {
    if (records === undefined) {
      this.#desired = undefined;
      this.#session = undefined;
      this.#end(new Error("this replica publishes no more"));
      return;
    }
    // a new start time for each spell of publishing: of two agents that both believe to lead, the later one wins
    this.#session ??= { id: randomBytes(12).toString("hex"), startedAtMs: this.#clock.now() };
    this.#desired = new Map(records.map((record) => [recordKey(record), record]));
    if (this.#stream !== undefined) this.#flush(this.#stream);
    this.#activity?.();
  }

  /** The hub's data may have begun anew: the whole set again. */
  restart(): void {
    this.#held = new Set();
    this.#end(new Error("the hub's registry was replaced: publishing the full set again"));
  }

  /** Records that the hub refused, until they change or go. */
  refused(): readonly RecordProblem[] {
    return [...this.#refused.values()];
  }

  /** Keys of the records that the hub has acknowledged, in this version or an earlier one; the loss of a stream takes none. */
  held(): ReadonlySet<string> {
    return this.#held;
  }

  /** Told after an answer of the hub changed `held` or `refused`. Returns the way to stop listening. */
  onAnswer(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Newest revision at which the hub holds everything that was sent up to then. */
  ackedRevision(): number {
    return this.#acked.revision;
  }

  /** The hub has acknowledged all that is desired. */
  isSettled(): boolean {
    return this.#stream?.synced === true && this.#stream.inFlight.length === 0 && !this.#stream.full;
  }

  /** One stream, from the full set on; ends by throwing. Waits, without a connection, while there is nothing to publish. */
  async runStream(client: FleetClient, signal: AbortSignal, onAck: () => void): Promise<never> {
    await this.#untilActive(signal);
    const ended = Promise.withResolvers<never>();
    const call = client.publish();
    const stream: Stream = { call, told: new Map(), inFlight: [], full: false, synced: false };
    const abort = () => ended.reject(signal.reason as Error);
    this.#end = (reason) => ended.reject(reason);
    call.on("error", (error) => ended.reject(error));
    call.on("end", () => ended.reject(new Error("the hub ended the stream")));
    call.on("data", (ack: PublishAck) => {
      const fault = this.#acknowledge(stream, ack);
      if (fault === undefined) onAck();
      else ended.reject(fault);
    });
    call.on("drain", () => {
      stream.full = false;
      this.#flush(stream);
    });
    signal.addEventListener("abort", abort, { once: true });
    this.#stream = stream;
    this.#flush(stream);
    try {
      return await ended.promise;
    } finally {
      this.#stream = undefined;
      signal.removeEventListener("abort", abort);
      call.cancel();
    }
  }

  async #untilActive(signal: AbortSignal): Promise<void> {
    while (this.#desired === undefined) {
      const active = Promise.withResolvers<undefined>();
      const abort = () => active.reject(signal.reason as Error);
      this.#activity = () => active.resolve(undefined);
      signal.addEventListener("abort", abort, { once: true });
      await active.promise.finally(() => signal.removeEventListener("abort", abort));
    }
  }

  #flush(stream: Stream): void {
    if (this.#desired === undefined || stream.full) return;
    const { puts, deleteKeys } = difference(stream.told, this.#desired);
    if (stream.synced && puts.length === 0 && deleteKeys.length === 0) return;
    const synced = !stream.synced;
    stream.synced = true;
    const batches = batchesOf(puts);
    batches.forEach((batch, index) => {
      const last = index === batches.length - 1;
      // deletes travel with the last batch: make before break
      this.#send(stream, { puts: batch, deleteKeys: last ? deleteKeys : [], synced: synced && last });
    });
    this.#remember(stream, puts, deleteKeys);
  }

  #remember({ told }: Stream, puts: readonly RegistryRecord[], deleteKeys: readonly string[]): void {
    for (const record of puts) told.set(recordKey(record), record);
    for (const key of deleteKeys) told.delete(key);
    for (const key of this.#refused.keys()) if (!told.has(key)) this.#refused.delete(key);
  }

  #send(stream: Stream, batch: { puts: readonly RegistryRecord[]; deleteKeys: readonly string[]; synced: boolean }) {
    if (this.#session === undefined) return;
    const { id, startedAtMs } = this.#session;
    const sequence = ++this.#sequence;
    const message: PublishBatch = {
      session: id,
      startedAtMs,
      sequence,
      puts: batch.puts.map(toWire),
      deleteKeys: batch.deleteKeys,
      synced: batch.synced,
    };
    const putKeys = batch.puts.map(recordKey);
    stream.inFlight.push({ sequence, putKeys, deleteKeys: batch.deleteKeys });
    for (const key of putKeys) this.#refused.delete(key);
    if (!stream.call.write(message)) stream.full = true;
  }

  #acknowledge(stream: Stream, { sequence, revision, problems }: PublishAck): Error | undefined {
    const answered = stream.inFlight.shift();
    if (sequence !== answered?.sequence) {
      return new Error(
        `the hub acknowledged batch ${sequence}, but ${answered?.sequence ?? "none"} was the oldest in flight`,
      );
    }
    for (const problem of problems) this.#refused.set(problem.key, problem);
    this.#acked = { sequence, revision };
    if (answered.deleteKeys.length > 0) this.#tryAgain(stream);
    if (this.#hold(answered, problems) || problems.length > 0) for (const listener of this.#listeners) listener();
    return undefined;
  }

  /** What went may have made room for what was too much. */
  #tryAgain(stream: Stream): void {
    const over = [...this.#refused.values()].filter(({ code }) => code === "ISTHMUS_RECORD_QUOTA");
    if (over.length === 0) return;
    for (const { key } of over) stream.told.delete(key);
    this.#flush(stream);
  }

  /** Whether what the hub holds has other keys now. */
  #hold({ putKeys, deleteKeys }: InFlight, problems: readonly RecordProblem[]): boolean {
    const refused = new Set(problems.map(({ key }) => key));
    const come = putKeys.filter((key) => !refused.has(key) && !this.#held.has(key));
    const gone = [...deleteKeys, ...refused].filter((key) => this.#held.has(key));
    if (come.length === 0 && gone.length === 0) return false;
    const held = new Set([...this.#held, ...come]);
    for (const key of gone) held.delete(key);
    this.#held = held;
    return true;
  }
}

/** Manifests in one batch: with them it stays below gRPC's 4 MiB. */
const MAX_MANIFEST_CHARS = 1024 * 1024;

/** At least one batch, which may be empty: it carries what else there is to say. */
function batchesOf(puts: readonly RegistryRecord[]): readonly (readonly RegistryRecord[])[] {
  const batches: RegistryRecord[][] = [[]];
  let chars = 0;
  for (const record of puts) {
    const more = record.kind === "policy" ? record.manifest.length : 0;
    const batch = batches.at(-1) ?? [];
    if (batch.length >= maxBatchRecords || (batch.length > 0 && chars + more > MAX_MANIFEST_CHARS)) {
      batches.push([record]);
      chars = more;
    } else {
      batch.push(record);
      chars += more;
    }
  }
  return batches;
}

function difference(told: ReadonlyMap<string, RegistryRecord>, desired: ReadonlyMap<string, RegistryRecord>) {
  const puts = [...desired].filter(([key, record]) => !isSame(told.get(key), record)).map(([, record]) => record);
  const deleteKeys = [...told.keys()].filter((key) => !desired.has(key));
  return { puts, deleteKeys };
}

/** What is sent is what counts: fields in another order are no change. */
function isSame(told: RegistryRecord | undefined, record: RegistryRecord): boolean {
  return told === record || (told !== undefined && wireText(told) === wireText(record));
}

function wireText(record: RegistryRecord): string {
  const wire: WireRecord = toWire(record);
  return JSON.stringify(wire);
}
