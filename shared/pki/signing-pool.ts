// Where certificates are signed without holding up the event loop: a few are made at once, in slices of a few milliseconds; a
// burst (a restart, a rotation, a storm of joins) starts worker threads, which end again when it is over. So a member with ten
// accounts pays for no thread, and one with ten thousand answers its proxies while it signs.
// One per program, made by whoever composes it. Called by leaf-issuer.ts and hub/ca.
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Result } from "../result.ts";
import type { RequestFacts } from "./certificate.ts";
import { requestFacts, type Proof } from "./p256-request.ts";
import {
  handedOver,
  leafBatch,
  leavesOf,
  perform,
  requestBatch,
  type Batch,
  type BatchAnswer,
  type LeafJob,
  type LeafSigner,
  type MadeLeaf,
} from "./signing-batch.ts";

/** Gives the event loop a turn between two pieces of work of a millisecond each. */
export type Turn = () => Promise<void>;

export interface SigningPool {
  /** Undefined: not a plain P-256 request; x509.ts reads the others. */
  checkRequest(csrDer: Uint8Array): Promise<RequestFacts | undefined>;
  makeLeaf(signer: LeafSigner, job: LeafJob): Promise<Result<MadeLeaf>>;
  /** Work that no thread takes (a rare kind of certificate), one at a time with a turn of the loop before each and wherever it asks for one. */
  inTurn<T>(work: (turn: Turn) => Promise<T>): Promise<T>;
  /** Threads that run now. */
  threads(): number;
  /** Ends the threads; what still waits is rejected. */
  close(): Promise<void>;
}

export interface SigningPoolOptions {
  /** Most threads. Default: one less than the processors that this process may use, at least one. */
  readonly maxThreads?: number;
  /** More jobs than this waiting start a thread. */
  readonly burst?: number;
  /** A thread without work ends after this. */
  readonly idleMs?: number;
}

/** Small enough that a batch's answers hold the loop up for a fraction of a millisecond, large enough to share a message's cost. */
const batchJobs = 64;
/** A thread that has a second batch waiting never idles between two. */
const batchesAhead = 2;
/** Work on the event loop between two turns of it. */
const sliceMs = 2;

interface Waiting<Job, Answer> {
  readonly job: Job;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/** Jobs that may share a batch. */
interface Lane {
  readonly waiting: () => number;
  /** Takes up to so many jobs out of the lane. */
  readonly take: (count: number) => Taken;
}

interface Taken {
  readonly batch: Batch;
  readonly settle: (answer: BatchAnswer) => void;
  readonly reject: (error: Error) => void;
}

interface Thread {
  readonly worker: Worker;
  /** In the order in which they were posted, which is the order of the answers. */
  readonly posted: Taken[];
  idle: NodeJS.Timeout | undefined;
}

export function createSigningPool(options: SigningPoolOptions = {}): SigningPool {
  return new ThreadPool(options);
}

class ThreadPool implements SigningPool {
  readonly #maxThreads: number;
  readonly #burst: number;
  readonly #idleMs: number;
  readonly #threads = new Set<Thread>();
  readonly #requests: Waiting<Uint8Array, Proof>[] = [];
  readonly #leaves = new Map<LeafSigner, Waiting<LeafJob, Result<MadeLeaf>>[]>();
  #last: Promise<unknown> = Promise.resolve();
  #isScheduled = false;
  #isClosed = false;

  constructor({ maxThreads, burst = 8, idleMs = 30_000 }: SigningPoolOptions) {
    this.#maxThreads = maxThreads ?? Math.max(1, availableParallelism() - 1);
    this.#burst = burst;
    this.#idleMs = idleMs;
  }

  async checkRequest(csrDer: Uint8Array): Promise<RequestFacts | undefined> {
    const proof = await this.#wait(this.#requests, csrDer);
    return proof === "unread" ? undefined : requestFacts(csrDer, proof);
  }

  makeLeaf(signer: LeafSigner, job: LeafJob): Promise<Result<MadeLeaf>> {
    const lane = this.#leaves.get(signer) ?? [];
    this.#leaves.set(signer, lane);
    return this.#wait(lane, job);
  }

  inTurn<T>(work: (turn: Turn) => Promise<T>): Promise<T> {
    const done = this.#last.then(loopTurn).then(() => work(loopTurn));
    this.#last = done.catch(() => undefined); // its caller is told; the next one has its turn
    return done;
  }

  threads(): number {
    return this.#threads.size;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const ended = new Error("signing has ended");
    const unposted = this.#lanes().map((lane) => lane.take(Infinity));
    const posted = Array.from(this.#threads, (thread) => thread.posted).flat();
    for (const { reject } of [...unposted, ...posted]) reject(ended);
    await Promise.all(Array.from(this.#threads, (thread) => this.#end(thread)));
  }

  #wait<Job, Answer>(lane: Waiting<Job, Answer>[], job: Job): Promise<Answer> {
    if (this.#isClosed) return Promise.reject(new Error("signing has ended"));
    return new Promise<Answer>((resolve, reject) => {
      lane.push({ job, resolve, reject });
      this.#schedule();
    });
  }

  /** Lanes with work. A signer whose work is done is forgotten: a renewed CA is another signer. */
  #lanes(): readonly Lane[] {
    for (const [signer, waiting] of this.#leaves) if (waiting.length === 0) this.#leaves.delete(signer);
    const leaves = Array.from(this.#leaves, ([signer, waiting]) => leafLane(signer, waiting));
    return this.#requests.length === 0 ? leaves : [requestLane(this.#requests), ...leaves];
  }

  /** On the next turn, when all that is asked for in this one is known. */
  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#dispatch();
    });
  }

  #dispatch(): void {
    const waiting = this.#lanes().reduce((sum, lane) => sum + lane.waiting(), 0);
    if (this.#threads.size === 0 && waiting <= this.#burst) {
      this.#performHere();
      return;
    }
    const wanted = Math.min(this.#maxThreads, Math.ceil(waiting / (batchJobs * batchesAhead)));
    while (this.#threads.size < wanted) this.#threads.add(this.#start());
    for (const thread of this.#threads) this.#feed(thread);
  }

  #performHere(): void {
    const endMs = performance.now() + sliceMs;
    for (const lane of this.#lanes()) {
      while (lane.waiting() > 0 && performance.now() < endMs) performTaken(lane.take(1));
    }
    if (this.#lanes().length > 0) this.#schedule();
  }

  #feed(thread: Thread): void {
    for (const lane of this.#lanes()) {
      while (lane.waiting() > 0 && thread.posted.length < batchesAhead) this.#post(thread, lane.take(batchJobs));
    }
  }

  #post(thread: Thread, taken: Taken): void {
    clearTimeout(thread.idle);
    if (thread.posted.length === 0) thread.worker.ref();
    thread.posted.push(taken);
    thread.worker.postMessage(taken.batch, handedOver(taken.batch));
  }

  #start(): Thread {
    const worker = new Worker(new URL("./signing-worker.ts", import.meta.url), { name: "signing" });
    const thread: Thread = { worker, posted: [], idle: undefined };
    worker.on("message", (answer: BatchAnswer) => {
      const taken = thread.posted.shift();
      this.#feed(thread); // first: the thread works while its last answers are handed out
      taken?.settle(answer);
      if (thread.posted.length === 0) this.#rest(thread);
    });
    worker.on("error", (cause) => this.#lose(thread, new Error("a signing thread failed", { cause })));
    worker.on("exit", () => this.#lose(thread, new Error("a signing thread ended")));
    return thread;
  }

  /** Keeps no program alive, and itself not for long. */
  #rest(thread: Thread): void {
    thread.worker.unref();
    clearTimeout(thread.idle);
    thread.idle = setTimeout(() => void this.#end(thread), this.#idleMs).unref();
  }

  async #end(thread: Thread): Promise<void> {
    clearTimeout(thread.idle);
    this.#threads.delete(thread);
    await thread.worker.terminate();
  }

  /** Its callers are told; the next job starts another thread. */
  #lose(thread: Thread, error: Error): void {
    if (!this.#threads.delete(thread)) return;
    clearTimeout(thread.idle);
    for (const { reject } of thread.posted) reject(error);
    if (this.#lanes().length > 0) this.#schedule();
  }
}

function loopTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function requestLane(waiting: Waiting<Uint8Array, Proof>[]): Lane {
  return {
    waiting: () => waiting.length,
    take: (count) => {
      const taken = waiting.splice(0, count);
      return {
        batch: requestBatch(taken.map(({ job }) => job)),
        settle: (answer) => {
          if (answer.kind === "requests") answer.proofs.forEach((proof, at) => taken[at]?.resolve(proof));
        },
        reject: (error) => taken.forEach(({ reject }) => reject(error)),
      };
    },
  };
}

function leafLane(signer: LeafSigner, waiting: Waiting<LeafJob, Result<MadeLeaf>>[]): Lane {
  return {
    waiting: () => waiting.length,
    take: (count) => {
      const taken = waiting.splice(0, count);
      return {
        batch: leafBatch(
          signer,
          taken.map(({ job }) => job),
        ),
        settle: (answer) => {
          if (answer.kind === "leaves") leavesOf(answer).forEach((leaf, at) => taken[at]?.resolve(leaf));
        },
        reject: (error) => taken.forEach(({ reject }) => reject(error)),
      };
    },
  };
}

function performTaken({ batch, settle, reject }: Taken): void {
  try {
    settle(perform(batch));
  } catch (error) {
    reject(error instanceof Error ? error : new Error("signing failed", { cause: error }));
  }
}
