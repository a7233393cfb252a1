// One Watch stream: carries the hub's events to the remote registry and its bundles to the credential, and ends when the hub
// has gone silent. Called by session.ts, which opens the next one.
import type { Clock } from "../../shared/clock.ts";
import type { FleetClient } from "../../shared/grpc/fleet-service.ts";
import type { TrustBundle, WatchEvent } from "../../shared/grpc/fleet-messages.ts";
import type { RemoteRegistry } from "./remote-registry.ts";

/** The hub bookmarks every 10 s: two missed ones and a half mean a half-open connection (client-node #596 hung for hours). */
const silenceMs = 25_000;
const checkMs = 2_500;

export interface WatchDeps {
  readonly remote: RemoteRegistry;
  readonly clock: Clock;
  readonly onBundle: (bundle: TrustBundle) => void;
  /** A mark has arrived: the stream lives and what is held is whole. */
  readonly onSynced: () => void;
  /** A full list was announced or is needed: the hub's data may be of another life. */
  readonly onResync: (reason: string) => void;
}

/** Ends by throwing; the reason says whether anybody is to blame. */
export async function runWatch(client: FleetClient, deps: WatchDeps, signal: AbortSignal): Promise<never> {
  const { remote, clock } = deps;
  remote.beginStream();
  const call = client.watch(remote.cursor() ?? { incarnation: "", revision: 0 });
  const ended = new AbortController();
  let lastEventMs = clock.now();
  const fail = (reason: Error) => ended.abort(reason);
  call.on("error", fail);
  call.on("end", () => fail(new Error("the hub ended the stream")));
  call.on("data", (event: WatchEvent) => {
    if (ended.signal.aborted) return;
    lastEventMs = clock.now();
    carry(event, deps, fail);
  });
  const over = AbortSignal.any([signal, ended.signal]);
  try {
    for (;;) {
      await clock.sleep(checkMs, over);
      if (clock.now() - lastEventMs > silenceMs) fail(new Error(`no event from the hub for ${silenceMs} ms`));
    }
  } finally {
    call.cancel();
  }
}

function carry(event: WatchEvent, deps: WatchDeps, fail: (reason: Error) => void): void {
  const fault = deps.remote.apply(event);
  if (fault !== undefined) {
    deps.remote.forgetCursor();
    deps.onResync(fault);
    fail(new Error(`the hub's watch is refused: ${fault}`));
  } else if (event.event === "bundle") deps.onBundle(event.bundle);
  else if (event.event === "resync") deps.onResync(event.resync.reason);
  else if (event.event === "synced" || event.event === "bookmark") deps.onSynced();
}
