// The audit log's chain: every entry names the hash of the one before it, so that a changed, removed or inserted line is found.
// Whoever may write the file could write a new chain; the hub therefore logs each hash too, and logs leave the machine.
import { createHash } from "node:crypto";
import { ok, rejected, type Result } from "../../shared/result.ts";

/** What happened, in words that stay: dashboards and alerts read `action`. */
export interface AuditEvent {
  readonly action: string;
  /** `operator`, or `cluster:<name>`. */
  readonly actor: string;
  /** What it was done to: a cluster's name, a token's id, `fleet`. */
  readonly subject: string;
  readonly detail: Readonly<Record<string, string | number | boolean>>;
}

export interface AuditEntry extends AuditEvent {
  /** From 1, without gaps. */
  readonly sequence: number;
  readonly atMs: number;
  /** Hash of the entry before; 64 zeros for the first. */
  readonly previous: string;
  /** SHA-256 (hex) over all other fields. */
  readonly hash: string;
}

export const noEntry = "0".repeat(64);

/** The end of the chain: what the next entry follows. */
export interface ChainHead {
  readonly sequence: number;
  readonly hash: string;
}

export const emptyChain: ChainHead = { sequence: 0, hash: noEntry };

export function nextEntry(head: ChainHead, event: AuditEvent, atMs: number): AuditEntry {
  const body = { sequence: head.sequence + 1, atMs, ...fieldsOf(event), previous: head.hash };
  return { ...body, hash: hashOf(body) };
}

export function entryLine(entry: AuditEntry): string {
  return `${JSON.stringify(entry)}\n`;
}

/** Reads one line and checks that it follows `head`. */
export function followingEntry(head: ChainHead, line: string): Result<AuditEntry> {
  const entry = parseEntry(line);
  const at = `entry ${head.sequence + 1}`;
  if (entry === undefined) return broken(`${at} is not readable`);
  if (entry.sequence !== head.sequence + 1) return broken(`${at} is missing; number ${entry.sequence} follows`);
  if (entry.previous !== head.hash) return broken(`${at} does not follow the one before it`);
  const { hash, ...body } = entry;
  if (hashOf(body) !== hash) return broken(`${at} was changed after it was written`);
  return ok(entry);
}

function broken(message: string): ReturnType<typeof rejected> {
  return rejected("ISTHMUS_AUDIT_BROKEN", message);
}

function parseEntry(line: string): AuditEntry | undefined {
  try {
    const { sequence, atMs, action, actor, subject, detail, previous, hash } = JSON.parse(line) as AuditEntry;
    const texts = [action, actor, subject, previous, hash].every((text) => typeof text === "string");
    const whole = texts && Number.isInteger(sequence) && typeof atMs === "number" && typeof detail === "object";
    return whole ? { sequence, atMs, action, actor, subject, detail, previous, hash } : undefined;
  } catch {
    return undefined;
  }
}

/** Field by field in one order, whatever object it came in: the hash must not depend on who built it. */
function fieldsOf({ action, actor, subject, detail }: AuditEvent): AuditEvent {
  const sorted = Object.entries(detail).sort(([a], [b]) => (a < b ? -1 : 1));
  return { action, actor, subject, detail: Object.fromEntries(sorted) };
}

function hashOf({ sequence, atMs, previous, ...event }: Omit<AuditEntry, "hash">): string {
  const { action, actor, subject, detail } = fieldsOf(event);
  const statement = JSON.stringify([sequence, atMs, action, actor, subject, Object.entries(detail), previous]);
  return createHash("sha256").update(statement).digest("hex");
}
