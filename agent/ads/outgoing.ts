// What was written to streams and is not on the wire yet. After an agent's restart every proxy wants its whole configuration at once: written
// as fast as it can be made, a thousand of them would lie in memory until the last was read. Used by lineup (whether another stream
// is served) and stream (what it wrote). A client that does not read is counted for a moment only, so that it delays nobody for longer.

/** Some tens of whole configurations of a large mesh; a push of a small change to a thousand streams is far below. */
const MAX_BYTES = 32 * 1024 * 1024;
const PATIENCE_MS = 2_000;

export interface Outgoing {
  /** Returns what is to be called when it is on the wire. */
  readonly add: (bytes: number) => () => void;
  /** Whether another stream may be written to. If not, `again` is called once when it may. */
  readonly hasRoom: (again: () => void) => boolean;
}

export interface OutgoingLimits {
  readonly maxBytes: number;
  readonly patienceMs: number;
}

const defaultLimits: OutgoingLimits = { maxBytes: MAX_BYTES, patienceMs: PATIENCE_MS };

interface Written {
  readonly bytes: number;
  readonly atMs: number;
}

export function createOutgoing({ maxBytes, patienceMs }: OutgoingLimits = defaultLimits): Outgoing {
  const written = new Set<Written>();
  let bytes = 0;
  let waiting: (() => void) | undefined;
  let timer: NodeJS.Timeout | undefined;
  const goOn = () => {
    clearTimeout(timer);
    timer = undefined;
    const again = waiting;
    waiting = undefined;
    again?.();
  };
  const forget = (entry: Written) => {
    // it may be forgotten already: it took too long
    if (written.delete(entry)) bytes -= entry.bytes;
  };
  const forgetSlow = (nowMs: number) => {
    for (const entry of written) {
      if (entry.atMs + patienceMs > nowMs) return;
      forget(entry);
    }
  };
  return {
    add: (more) => {
      const entry = { bytes: more, atMs: performance.now() };
      written.add(entry);
      bytes += more;
      return () => {
        forget(entry);
        if (bytes < maxBytes) goOn();
      };
    },
    hasRoom: (again) => {
      const nowMs = performance.now();
      forgetSlow(nowMs);
      if (bytes < maxBytes) return true;
      const [oldest] = written;
      waiting = again;
      timer ??= setTimeout(goOn, Math.max(1, (oldest?.atMs ?? nowMs) + patienceMs - nowMs)).unref();
      return false;
    },
  };
}
