// Streams that have work, served in turns: a push to a thousand streams must not keep webhooks and health checks waiting.
// Used by server. A stream stands in line once however often it is woken, so what it is sent is the newest there is.
import type { Outgoing } from "./outgoing.ts";

/** Long enough to amortise a turn of the event loop, short enough that a probe beside it does not notice. */
const SLICE_MS = 5;

export interface Lineup<Stream> {
  readonly wake: (stream: Stream) => void;
  readonly forget: (stream: Stream) => void;
  /** Until then streams only gather. */
  readonly open: () => void;
}

export function createLineup<Stream>(
  serve: (stream: Stream) => void,
  hasRoom: Outgoing["hasRoom"] = () => true,
): Lineup<Stream> {
  const waiting = new Set<Stream>();
  let opened = false;
  let scheduled = false;

  const turn = () => {
    scheduled = false;
    const until = performance.now() + SLICE_MS;
    for (const stream of waiting) {
      if (!hasRoom(schedule)) return;
      waiting.delete(stream);
      serve(stream);
      if (performance.now() >= until) break;
    }
    schedule();
  };
  const schedule = () => {
    if (scheduled || !opened || waiting.size === 0) return;
    scheduled = true;
    setImmediate(turn);
  };
  return {
    wake: (stream) => {
      waiting.add(stream);
      schedule();
    },
    forget: (stream) => void waiting.delete(stream),
    open: () => {
      opened = true;
      schedule();
    },
  };
}
