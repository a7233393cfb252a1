// Everything a hub keeps in Redis, opened: connection, scripts, registry, tokens, members, reports. Called by hub/main.ts;
// the tests of api/ open the same store on a redis-server of their own.
import type { Redis } from "ioredis";
import type { Clock } from "../../shared/clock.ts";
import type { AddressRules } from "../../shared/grpc/gateway-host.ts";
import type { FleetDomain } from "../../shared/ids.ts";
import type { Log } from "../../shared/log.ts";
import { openFeed, runChangeFeed } from "./change-feed.ts";
import { redisKeys } from "./keys.ts";
import { LiveRegistry } from "./live-registry.ts";
import { openMembers, type Members } from "./members.ts";
import { commandConnection, connectOrExplain, feedConnection, type RedisTarget } from "./redis-connection.ts";
import { openMembershipMemory } from "./membership-memory.ts";
import { RedisRegistry } from "./redis-registry.ts";
import { scriptModeFor, serverVersion } from "./redis-version.ts";
import { openReports, type Reports } from "./reports.ts";
import type { RevisionMemory } from "./revision-memory.ts";
import { openScripts, type ScriptMode } from "./scripts.ts";
import { openTokens, type Tokens } from "./tokens.ts";

export interface StoreOptions {
  readonly target: RedisTarget;
  /** Of the embedded Redis; a given server is asked. */
  readonly scriptMode: ScriptMode | undefined;
  /** Of the hub: what it remembers of its members. */
  readonly dataDir: string;
  readonly fleet: FleetDomain;
  readonly pepper: Uint8Array;
  readonly rules: AddressRules;
  readonly memory: RevisionMemory;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Store {
  readonly live: LiveRegistry;
  readonly registry: RedisRegistry;
  readonly members: Members;
  readonly tokens: Tokens;
  readonly reports: Reports;
  /** Member records of Redis that were refused because they were changed, or older than known. */
  tampered(): number;
  /** Times that the data in Redis was found to be older than what this hub had seen. */
  restores(): number;
  /** Task: keeps `live` current, which has its first view when the store is open. */
  runFeed(signal: AbortSignal): Promise<void>;
  close(): void;
}

export async function openStore(options: StoreOptions): Promise<Store> {
  const { target, fleet, pepper, rules, memory, clock, log } = options;
  const membership = await openMembershipMemory(options);
  const redis = commandConnection(target);
  await connectOrExplain(redis, target);
  const mode = options.scriptMode ?? scriptModeFor(await serverVersion(redis));
  if (target.kind === "url") await warnAboutDurability(redis, log);
  const keys = redisKeys(fleet);
  const scripts = openScripts(redis, mode);
  await scripts.load();
  const registry = new RedisRegistry({ redis, scripts, keys });
  const live = new LiveRegistry(rules, membership, log);
  let restores = 0;
  const feed = {
    connect: () => feedConnection(target),
    streamKey: keys.stream,
    registry,
    live,
    memory,
    clock,
    log,
    onRestored: () => (restores += 1),
  };
  // before anybody may write: a join that came first would count its revisions in no incarnation
  await openFeed(feed);
  return {
    live,
    registry,
    members: openMembers({ live, memory: membership, registry, scripts, keys }),
    tokens: openTokens({ redis, scripts, keys, pepper, memory: membership }),
    reports: openReports(redis, keys),
    tampered: () => membership.tampered(),
    restores: () => restores,
    runFeed: (signal) => runChangeFeed(feed, signal),
    close: () => redis.disconnect(),
  };
}

/** A given Redis is its owner's to configure; what it may lose is said, not refused. */
async function warnAboutDurability(redis: Redis, log: Log): Promise<void> {
  const persistence = await redis.info("persistence");
  if (!/aof_enabled:1/.test(persistence)) {
    log.warn("this Redis keeps no append-only file: a crash loses acknowledged writes", { next: "appendonly yes" });
  }
}
