// Which Redis is new enough, and which form of the scripts it runs. Asked once at start, of the program on PATH
// (embedded) or of the server at a URL.
import type { Redis } from "ioredis";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { UserError } from "../../shared/errors.ts";
import type { ScriptMode } from "./scripts.ts";

export interface RedisVersion {
  readonly major: number;
  readonly minor: number;
  readonly text: string;
}

const install = "install Redis 7 (or Valkey) as redis-server on PATH, or give a server with --redis URL";

/** Embedded: 6.2 is the oldest whose AOF and scripts behave as we need; on a private socket EVALSHA is fine. */
export async function embeddedVersion(): Promise<RedisVersion> {
  const { stdout } = await promisify(execFile)("redis-server", ["--version"]).catch((cause: unknown) => {
    throw new UserError("ISTHMUS_REDIS_MISSING", "there is no redis-server to start", { cause, hint: install });
  });
  const version = parseVersion(/v=(\S+)/.exec(stdout)?.[1] ?? "");
  if (version.major < 6 || (version.major === 6 && version.minor < 2)) {
    throw new UserError("ISTHMUS_REDIS_OLD", `redis-server ${version.text} is older than 6.2`, { hint: install });
  }
  return version;
}

/** A given server: functions need 7, and an ACL that forbids EVAL is then enough. */
export async function serverVersion(redis: Redis): Promise<RedisVersion> {
  const version = parseVersion(/redis_version:(\S+)/.exec(await redis.info("server"))?.[1] ?? "");
  if (version.major < 7) {
    throw new UserError("ISTHMUS_REDIS_OLD", `Redis ${version.text} is older than 7`, {
      hint: "upgrade it: Isthmus writes by Redis functions, which began with 7.0",
    });
  }
  return version;
}

export function parseVersion(text: string): RedisVersion {
  const [major, minor] = text.split(".").map(Number);
  return { major: major ?? 0, minor: minor ?? 0, text: text === "" ? "of unknown version" : text };
}

export function scriptModeFor(version: RedisVersion): ScriptMode {
  return version.major >= 7 ? "function" : "evalsha";
}
