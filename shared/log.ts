// JSON lines on standard error. Data goes into fields, not into the sentence; secrets never reach a logger
// (tokens and keys have no string form that a field would accept: pass fingerprints).

export type LogFields = Readonly<Record<string, string | number | boolean | undefined | readonly string[]>>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields & { readonly cause?: never }, cause?: unknown): void;
  /** The same log with fields added to every line. */
  with(fields: LogFields): Log;
}

export type LogLevel = "debug" | "info" | "warn" | "error";
const order: readonly LogLevel[] = ["debug", "info", "warn", "error"];

export function jsonLog(level: LogLevel, write: (line: string) => void, base: LogFields = {}): Log {
  const emit = (at: LogLevel, message: string, fields: LogFields = {}, cause?: unknown) => {
    if (order.indexOf(at) < order.indexOf(level)) return;
    const line = { time: new Date().toISOString(), level: at, message, ...base, ...fields, ...causeFields(cause) };
    write(`${JSON.stringify(line)}\n`);
  };
  return {
    debug: (message, fields) => emit("debug", message, fields),
    info: (message, fields) => emit("info", message, fields),
    warn: (message, fields) => emit("warn", message, fields),
    error: (message, fields, cause) => emit("error", message, fields, cause),
    with: (fields) => jsonLog(level, write, { ...base, ...fields }),
  };
}

/** The chain of causes as text: the outermost alone ("task x failed") tells nobody why. */
export function causeChain(error: unknown): readonly string[] {
  const chain: string[] = [];
  for (let at = error; at !== undefined && chain.length < 8; at = at instanceof Error ? at.cause : undefined) {
    chain.push(at instanceof Error ? `${at.name}: ${at.message}` : JSON.stringify(at));
  }
  return chain;
}

function causeFields(cause: unknown): LogFields {
  if (cause === undefined) return {};
  const stack = cause instanceof Error ? cause.stack : undefined;
  return { cause: causeChain(cause), ...(stack === undefined ? {} : { stack }) };
}
