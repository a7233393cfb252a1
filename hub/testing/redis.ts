// A real redis-server for one test file: its own data folder under the temp folder, a private Unix socket, gone afterwards.
import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomBytes } from "node:crypto";
import { systemClock } from "../../shared/clock.ts";
import { parseFleetDomain, type FleetDomain } from "../../shared/ids.ts";
import { jsonLog, type Log } from "../../shared/log.ts";
import { startEmbeddedRedis, type EmbeddedRedis } from "../store/embedded-redis.ts";
import { openStore, type Store } from "../store/open-store.ts";
import type { RedisTarget } from "../store/redis-connection.ts";
import { openRevisionMemory } from "../store/revision-memory.ts";
import type { ScriptMode } from "../store/scripts.ts";

/** Shown only when a test looks at it: `lines`. */
export interface CapturedLog extends Log {
  readonly lines: string[];
}

export function capturedLog(): CapturedLog {
  const lines: string[] = [];
  return { ...jsonLog("debug", (line) => lines.push(line)), lines };
}

export interface TestRedis {
  readonly dataDir: string;
  readonly target: RedisTarget;
  readonly embedded: EmbeddedRedis;
  kill(): void;
  stop(): Promise<void>;
}

export async function startTestRedis(log: Log = capturedLog()): Promise<TestRedis> {
  const dataDir = await realpath(await mkdtemp(join(tmpdir(), "isthmus-test-")));
  const ending = new AbortController();
  const embedded = await startEmbeddedRedis({ dataDir, clock: systemClock, log });
  const running = embedded.run(ending.signal);
  return {
    dataDir,
    target: { kind: "socket", path: embedded.socketPath },
    embedded,
    kill: () => process.kill(embedded.pid()!, "SIGKILL"),
    stop: async () => {
      ending.abort(new Error("the test has ended"));
      await running.catch(ignoreAbort);
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

function ignoreAbort(error: unknown): void {
  if ((error as Error).message !== "the test has ended") throw error;
}

export interface TestStore extends Store {
  readonly log: CapturedLog;
  readonly fleet: FleetDomain;
  stop(): Promise<void>;
}

export async function openTestStore(
  redis: TestRedis,
  options: { mode?: ScriptMode; fleet?: string; follow?: boolean } = {},
): Promise<TestStore> {
  const log = capturedLog();
  const fleet = parseFleetDomain(options.fleet ?? `t${randomBytes(4).toString("hex")}.mesh`);
  if (!fleet.ok) throw new Error("test fleet");
  const dataDir = join(redis.dataDir, fleet.value);
  const memory = await openRevisionMemory(redis.dataDir, systemClock, log);
  const store = await openStore({
    target: redis.target,
    dataDir,
    scriptMode: options.mode,
    fleet: fleet.value,
    pepper: Buffer.alloc(32, 7),
    rules: { allowLoopback: false },
    memory,
    clock: systemClock,
    log,
  });
  const ending = new AbortController();
  const feed = options.follow === false ? Promise.resolve() : store.runFeed(ending.signal);
  return {
    ...store,
    log,
    fleet: fleet.value,
    stop: async () => {
      ending.abort(new Error("the test has ended"));
      await feed.catch(ignoreAbort);
      store.close();
    },
  };
}

/** Waits for the registry to say something until `holds`, with a deadline. */
export async function until(live: Store["live"], holds: () => boolean, deadlineMs = 30_000): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const overdue = setTimeout(() => finish(new Error(`not within ${deadlineMs} ms: ${holds.toString()}`)), deadlineMs);
    const stop = live.subscribe(() => {
      if (holds()) finish();
    });
    const finish = (error?: Error) => {
      clearTimeout(overdue);
      stop();
      if (error === undefined) resolve();
      else reject(error);
    };
    if (holds()) finish();
  });
}
