// Follows the change stream and keeps the LiveRegistry current: XREAD BLOCK on a connection of its own, no polling on
// the way of a change. A gap, another incarnation or a smaller revision leads to a snapshot. Runs as a task of the hub.
import type { Redis } from "ioredis";
import { backoffDelayMs } from "../../shared/backoff.ts";
import type { Clock } from "../../shared/clock.ts";
import type { Log } from "../../shared/log.ts";
import type { LiveRegistry } from "./live-registry.ts";
import { feedBlockMs } from "./redis-connection.ts";
import { parseEntry, type OpenAnswer, type RedisRegistry, type StoredChange } from "./redis-registry.ts";
import type { RevisionMemory } from "./revision-memory.ts";

/** Changes one XREAD returns at most; a burst is applied and sent on in steps of this. */
const readCount = 1_000;
/** Changes remembered over a restart of the hub, so that agents resume instead of listing. */
const tailCount = 2_000;

/** Publishers get through as soon as Redis is back; members should hear of it within a quarter of a second more. */
const retry = { baseMs: 20, maxMs: 250 };

export interface ChangeFeedDeps {
  readonly connect: () => Redis;
  readonly streamKey: string;
  readonly registry: RedisRegistry;
  readonly live: LiveRegistry;
  readonly memory: RevisionMemory;
  readonly clock: Clock;
  readonly log: Log;
  /** The data in Redis is older than what this hub has seen. */
  readonly onRestored: () => void;
}

export async function runChangeFeed(deps: ChangeFeedDeps, signal: AbortSignal): Promise<void> {
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    const redis = deps.connect();
    const leave = () => redis.disconnect();
    signal.addEventListener("abort", leave, { once: true });
    try {
      await redis.connect();
      await openFeed(deps);
      deps.live.setConnected(true);
      attempt = 0;
      await follow(deps, redis, signal);
    } catch (cause) {
      deps.live.setConnected(false);
      if (!isAborted(signal))
        deps.log.warn("the change feed lost Redis and reconnects", { attempt, reason: reasonOf(cause) });
    } finally {
      signal.removeEventListener("abort", leave);
      redis.disconnect();
    }
    if (isAborted(signal)) return;
    await deps.clock.sleep(backoffDelayMs(attempt, retry, Math.random()), signal);
  }
}

/** A call, because the compiler believes that a signal read once stays as it was. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** Makes the LiveRegistry fit what Redis holds now: goes on where it was when that is possible. */
export async function openFeed(deps: ChangeFeedDeps): Promise<void> {
  const { registry, live, memory } = deps;
  const opened = await registry.open(memory.seen());
  if (opened.state === "restored") reportRestored(deps, opened);
  const { view } = live;
  if (view?.incarnation !== opened.incarnation || opened.revision < view.revision) await reload(deps);
  memory.see(opened);
}

function reportRestored(deps: ChangeFeedDeps, opened: OpenAnswer): void {
  const before = deps.memory.seen();
  deps.log.error("the data in Redis went back in time; the registry starts anew and no token is redeemed", {
    rememberedIncarnation: before.incarnation,
    rememberedRevision: before.revision,
    incarnation: opened.incarnation,
    next: "isthmus confirm-restore",
  });
  deps.onRestored();
}

async function reload({ registry, live, memory }: ChangeFeedDeps): Promise<void> {
  const snapshot = await registry.snapshot();
  live.load(snapshot, await registry.tail(snapshot.revision, tailCount));
  memory.see(snapshot);
}

async function follow(deps: ChangeFeedDeps, redis: Redis, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const changes = await read(deps, redis, feedBlockMs);
    if (changes.length === 0) await checkIdle(deps, redis);
    else await take(deps, changes);
  }
}

async function take(deps: ChangeFeedDeps, changes: readonly StoredChange[]): Promise<void> {
  const whole = deps.live.apply(changes);
  if (!whole) {
    deps.log.warn("the change stream was trimmed past this hub; taking a snapshot");
    await reload(deps);
  }
  deps.memory.see(headOf(deps.live));
}

function headOf(live: LiveRegistry): { readonly incarnation: string; readonly revision: number } {
  return { incarnation: live.view?.incarnation ?? "", revision: live.view?.revision ?? 0 };
}

async function read(deps: ChangeFeedDeps, redis: Redis, blockMs: number): Promise<readonly StoredChange[]> {
  const from = `${headOf(deps.live).revision}-0`;
  const reply = await redis.xread("COUNT", readCount, "BLOCK", blockMs, "STREAMS", deps.streamKey, from);
  return (reply?.[0]?.[1] ?? []).map(([id, fields]) => parseEntry(id, fields));
}

/** Nothing came for a while: is that true? A stream that was deleted or a dump restored under us sends nothing either. */
async function checkIdle(deps: ChangeFeedDeps, redis: Redis): Promise<void> {
  const head = await deps.registry.head();
  deps.live.setRestored(head.restored);
  const known = headOf(deps.live);
  if (head.incarnation !== known.incarnation || head.revision < known.revision) return openFeed(deps);
  if (head.revision === known.revision) return;
  const missed = await read(deps, redis, 1);
  if (missed.length > 0) await take(deps, missed);
  else await reload(deps);
}
