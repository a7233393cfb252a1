// Runs the Lua bodies of ./lua: as a Redis FUNCTION library where Redis has functions (7 and newer), by EVALSHA on an
// embedded older one. Same body, same keys and args, same answer.
import type { Redis } from "ioredis";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { UserError } from "../../shared/errors.ts";

const names = ["mutate", "touch", "open", "redeem", "rebind"] as const;
export type ScriptName = (typeof names)[number];
export type ScriptMode = "function" | "evalsha";
export type ScriptAnswer = readonly (string | number)[];

const read = (name: string) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), "utf8");
const commit = read("commit");
const bodies = new Map(names.map((name) => [name, read(name)]));
/** Part of every function's name, so that hubs of two versions on one Redis call each their own. */
const digest = createHash("sha256")
  .update([commit, ...bodies.values()].join("\0"))
  .digest("hex")
  .slice(0, 12);

function functionName(name: ScriptName): string {
  return `isthmus_${name}_${digest}`;
}

function librarySource(): string {
  const functions = names.map(
    (name) => `redis.register_function('${functionName(name)}', function(keys, args)\n${bodies.get(name) ?? ""}\nend)`,
  );
  return `#!lua name=isthmus_${digest}\n${commit}\n${functions.join("\n")}\n`;
}

interface EvalScript {
  readonly source: string;
  readonly sha1: string;
}

function evalScript(name: ScriptName): EvalScript {
  const source = `local keys, args = KEYS, ARGV\n${commit}\n${bodies.get(name) ?? ""}`;
  return { source, sha1: createHash("sha1").update(source).digest("hex") };
}

export interface Scripts {
  readonly mode: ScriptMode;
  /** Loads what is missing; needed once per Redis, harmless again. */
  load(): Promise<void>;
  /** One round trip; a Redis that forgot the script (restart, failover, flush) gets it again. */
  call(name: ScriptName, keys: readonly string[], args: readonly (string | number)[]): Promise<ScriptAnswer>;
}

export function openScripts(redis: Redis, mode: ScriptMode): Scripts {
  return mode === "function" ? functionScripts(redis) : evalScripts(redis);
}

function functionScripts(redis: Redis): Scripts {
  const load = async () => {
    try {
      await redis.function("LOAD", "REPLACE", librarySource());
    } catch (cause) {
      if (!(cause instanceof Error) || !/NOPERM/.test(cause.message)) throw cause;
      throw new UserError("ISTHMUS_REDIS_PERMISSION", "the Redis user may not load functions", {
        cause,
        hint: "allow it +function|load, as docs/errors.md shows",
      });
    }
  };
  return {
    mode: "function",
    load,
    call: (name, keys, args) =>
      retryMissing(/function not found/i, load, async () => {
        return (await redis.fcall(functionName(name), keys.length, ...keys, ...args)) as ScriptAnswer;
      }),
  };
}

function evalScripts(redis: Redis): Scripts {
  const scripts = new Map(names.map((name) => [name, evalScript(name)]));
  const load = async () => {
    for (const { source } of scripts.values()) await redis.script("LOAD", source);
  };
  return {
    mode: "evalsha",
    load,
    call: (name, keys, args) =>
      retryMissing(/^NOSCRIPT/, load, async () => {
        const sha1 = scripts.get(name)?.sha1 ?? "";
        return (await redis.evalsha(sha1, keys.length, ...keys, ...args)) as ScriptAnswer;
      }),
  };
}

/** A missing script changed nothing, so calling again is safe whatever the script does. */
async function retryMissing<T>(missing: RegExp, load: () => Promise<void>, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof Error) || !missing.test(error.message)) throw error;
    await load();
    return await call();
  }
}
