// How every command speaks: data on standard output (text or, with -o json, one JSON document), everything for the reader
// alone (progress, the next command, errors) on standard error, so that `isthmus token create east > FILE` just works.
import { UserError } from "../shared/errors.ts";
import { causeChain } from "../shared/log.ts";

export type Format = "text" | "json";

export interface Output {
  readonly format: Format;
  /** The command's result. */
  result(document: object, text: string): void;
  /** One line for the reader; left out with -o json. */
  say(line: string): void;
  /** The command to run next. */
  next(command: string): void;
}

/** Where a command writes: the process's streams, or a test's. */
export interface Streams {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
}

export function openOutput(format: Format, streams: Streams): Output {
  const stdout = (text: string) => streams.stdout(text.endsWith("\n") ? text : `${text}\n`);
  const stderr = (line: string) => streams.stderr(`${line}\n`);
  const reader = format === "text" ? stderr : ignore;
  return {
    format,
    result: (document, text) => stdout(format === "json" ? JSON.stringify(document, undefined, 2) : text),
    say: reader,
    next: (command) => reader(`next: ${command}`),
  };
}

function ignore(): void {
  return;
}

/** `error CODE: what; probable cause; next step`, always one line. */
export function errorLine(error: unknown): string {
  const { code, message, cause, hint } = describeError(error);
  return [`error ${code}: ${message}`, cause, hint].filter(Boolean).join("; ").replaceAll(/\s+/g, " ");
}

interface ErrorDescription {
  readonly code: string;
  readonly message: string;
  readonly cause: string;
  readonly hint: string;
}

/** A mistake of ours has no code and no advice: its whole chain of causes is what helps. */
export function describeError(error: unknown): ErrorDescription {
  const known = userErrorIn(error);
  if (known !== undefined) {
    const cause = causeText(known.cause);
    return { code: known.code, message: known.message, cause, hint: known.hint ?? "" };
  }
  const [message = "unknown failure", ...rest] = causeChain(error);
  return { code: "ISTHMUS_BUG", message, cause: rest.join(": "), hint: "please report this line" };
}

/** runTasks wraps what a task threw. */
export function userErrorIn(error: unknown): UserError | undefined {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof UserError) return at;
  return undefined;
}

function causeText(cause: unknown): string {
  return cause instanceof Error ? cause.message : "";
}

/** Columns as wide as their content; the last one is never padded. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** `3s`, `5m`, `2h`, `6d`: the largest unit that is not zero. */
export function shortDuration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 100) return `${seconds}s`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)}m`;
  if (seconds < 48 * 3_600) return `${Math.round(seconds / 3_600)}h`;
  return `${Math.round(seconds / 86_400)}d`;
}
