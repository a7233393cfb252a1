// `<data>/audit.jsonl`: one line an entry, only ever appended, on disk before its action is answered. Opened once by hub/main.ts.
// A line that a crash cut short was never acknowledged: it is taken away at the next start. Anything else that does not
// follow the chain stops the hub, for then somebody changed the past.
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { open, stat, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import type { Log } from "../../shared/log.ts";
import {
  emptyChain,
  entryLine,
  followingEntry,
  nextEntry,
  type AuditEntry,
  type AuditEvent,
  type ChainHead,
} from "./chain.ts";

export const auditFileName = "audit.jsonl";

export interface AuditLog {
  /** Resolves when the entry is on disk; rejects with a UserError when it cannot be, and then nothing was recorded. */
  record(event: AuditEvent): Promise<AuditEntry>;
  head(): ChainHead;
  close(): Promise<void>;
}

export async function openAuditLog(dataDir: string, clock: Clock, log: Log): Promise<AuditLog> {
  const path = join(dataDir, auditFileName);
  const file = await open(path, "a+", 0o600).catch((cause: unknown) => {
    throw unwritable(path, cause);
  });
  try {
    const { head, bytes } = await checkedEnd(path);
    await file.truncate(bytes);
    return new RunningLog({ file, path, clock, log, head, bytes });
  } catch (error) {
    await file.close();
    throw error;
  }
}

interface Waiting {
  readonly event: AuditEvent;
  readonly done: (entry: AuditEntry) => void;
  readonly failed: (error: unknown) => void;
}

interface LogState {
  readonly file: FileHandle;
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly head: ChainHead;
  /** Length of the file that holds whole entries. */
  readonly bytes: number;
}

class RunningLog implements AuditLog {
  readonly #state: LogState;
  #head: ChainHead;
  #bytes: number;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;

  constructor(state: LogState) {
    this.#state = state;
    this.#head = state.head;
    this.#bytes = state.bytes;
  }

  head(): ChainHead {
    return this.#head;
  }

  record(event: AuditEvent): Promise<AuditEntry> {
    const { promise, resolve, reject } = Promise.withResolvers<AuditEntry>();
    this.#waiting.push({ event, done: resolve, failed: reject });
    this.#writing ??= this.#writeAll();
    return promise;
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#state.file.close();
  }

  /** All that waits goes out with one fsync. */
  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      await this.#write(batch);
    }
    this.#writing = undefined;
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    const { file, path, clock, log } = this.#state;
    let head = this.#head;
    const entries = batch.map(({ event }) => {
      const entry = nextEntry(head, event, clock.now());
      head = entry;
      return entry;
    });
    const text = Buffer.from(entries.map(entryLine).join(""));
    try {
      // not write(): on a disk that is nearly full that writes a part and says so only in its answer
      await file.appendFile(text);
      await file.sync();
    } catch (cause) {
      // half a line may be there: the next entry must not be glued to it
      const failure = await file.truncate(this.#bytes).then(
        () => cause,
        (second: unknown) => new AggregateError([cause, second], "the half-written entry could not be taken back"),
      );
      for (const { failed } of batch) failed(unwritable(path, failure));
      return;
    }
    this.#head = head;
    this.#bytes += text.length;
    for (const [index, { done }] of batch.entries()) {
      const entry = entries[index] as AuditEntry;
      const { sequence, action, subject, hash } = entry;
      log.info("audited", { sequence, action, subject, hash });
      done(entry);
    }
  }
}

/** Entries after `sequence`, oldest first, each checked against the one before it. */
export async function* readAudit(dataDir: string, afterSequence = 0): AsyncGenerator<AuditEntry, void> {
  let head = emptyChain;
  for await (const line of wholeLines(join(dataDir, auditFileName))) {
    const entry = followingEntry(head, line.text);
    if (!entry.ok) throw brokenChain(dataDir, entry.error[0]?.message ?? "");
    head = entry.value;
    if (entry.value.sequence > afterSequence) yield entry.value;
  }
}

async function checkedEnd(path: string): Promise<{ readonly head: ChainHead; readonly bytes: number }> {
  let head = emptyChain;
  let bytes = 0;
  for await (const line of wholeLines(path)) {
    const entry = followingEntry(head, line.text);
    if (!entry.ok) throw brokenChain(path, entry.error[0]?.message ?? "");
    head = entry.value;
    bytes = line.endByte;
  }
  return { head, bytes };
}

/** Lines that end in a newline; a last one without it is left out. */
async function* wholeLines(path: string): AsyncGenerator<{ readonly text: string; readonly endByte: number }, void> {
  const { size } = await stat(path);
  const input = createReadStream(path, { encoding: "utf8" });
  let endByte = 0;
  try {
    for await (const text of createInterface({ input })) {
      endByte += Buffer.byteLength(text) + 1;
      if (endByte <= size) yield { text, endByte };
    }
  } finally {
    // who stops in the middle leaves the interface, which does not close what it reads
    input.destroy();
    if (!input.closed) await once(input, "close");
  }
}

function brokenChain(where: string, what: string): UserError {
  return new UserError("ISTHMUS_AUDIT_BROKEN", `the audit log in ${where} was changed: ${what}`, {
    hint: "compare it with a backup and with the hashes in the hub's log; move it away to start a new one",
  });
}

function unwritable(path: string, cause: unknown): UserError {
  return new UserError("ISTHMUS_AUDIT_UNWRITABLE", `the audit log ${path} cannot be written; nothing was done`, {
    cause,
    hint: "make room on the disk, or give the folder back to the hub's user",
  });
}
