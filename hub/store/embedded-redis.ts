// A redis-server of the hub's own, when no URL is given: AOF `always` in the data folder, reachable only by a private
// Unix socket, restarted when it dies, ended with the hub. It never connects to a Redis that it did not start.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { backoffDelayMs } from "../../shared/backoff.ts";
import type { Clock } from "../../shared/clock.ts";
import { UserError } from "../../shared/errors.ts";
import type { Log } from "../../shared/log.ts";
import { embeddedVersion, type RedisVersion } from "./redis-version.ts";

/** sun_path of Linux is 108 bytes with its end mark; elsewhere it is shorter still. */
const maxSocketPath = 103;
const startDeadlineMs = 20_000;
const stopDeadlineMs = 10_000;
/** A Redis that lived for so long is well: when it ends, the next one starts at once. */
const steadyAfterMs = 10_000;
/** With AOF `always` Redis ends rather than acknowledge what it could not write: right, but it does not say what to do. */
const diskFull = /No space left|Short write while writing to the AOF/;

export interface EmbeddedRedis {
  readonly socketPath: string;
  readonly version: RedisVersion;
  /** Task: supervises until the signal aborts, then ends Redis. */
  readonly run: (signal: AbortSignal) => Promise<void>;
  /** For tests of its supervision and for logs. */
  pid(): number | undefined;
}

export interface EmbeddedRedisDeps {
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Starts Redis and resolves when it answers on its socket. */
export async function startEmbeddedRedis(deps: EmbeddedRedisDeps): Promise<EmbeddedRedis> {
  const version = await embeddedVersion();
  const folder = join(deps.dataDir, "redis");
  const socketPath = join(folder, "redis.sock");
  if (Buffer.byteLength(socketPath) > maxSocketPath) {
    throw new UserError("ISTHMUS_DATA_PATH", `${socketPath} is too long for a Unix socket`, {
      hint: `choose a data folder whose path has at most ${maxSocketPath - "/redis/redis.sock".length} characters`,
    });
  }
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  await endOrphan(folder, deps);
  let current = await launch(folder, socketPath);
  await answering(current, socketPath, deps);
  return {
    socketPath,
    version,
    pid: () => current.process.pid,
    run: async (signal) => {
      try {
        for (let attempt = 0; !signal.aborted; attempt += 1) {
          const sinceMs = deps.clock.now();
          await exitOf(current, signal);
          if (isAborted(signal)) return;
          // one that ends again as soon as somebody writes (a full disk) is not started ever faster
          if (deps.clock.now() - sinceMs > steadyAfterMs) attempt = 0;
          const said = current.lastLines();
          const next = said.some((line) => diskFull.test(line))
            ? { next: `the disk is full: make room in ${folder}` }
            : {};
          deps.log.error("redis-server ended and is started again", { attempt, said, ...next });
          await deps.clock.sleep(attempt === 0 ? 0 : backoffDelayMs(attempt, { baseMs: 50, maxMs: 5_000 }, 0), signal);
          current = await launch(folder, socketPath);
          await cameUp(current, socketPath, deps);
        }
      } finally {
        await stop(current);
        await rm(join(folder, "redis.pid"), { force: true });
      }
    },
  };
}

interface Launched {
  readonly process: ChildProcess;
  /** Ends when the process does, however it ends. */
  readonly ended: Promise<void>;
  readonly lastLines: () => readonly string[];
}

/** Settings by standard input: no file to guard, nothing in the process list. */
function settings(socketPath: string): string {
  return [
    "port 0",
    `unixsocket "${socketPath}"`,
    "unixsocketperm 700",
    "appendonly yes",
    "appendfsync always",
    // a rewrite must not suspend the fsync: an acknowledged write is on the disk, always
    "no-appendfsync-on-rewrite no",
    "aof-load-truncated yes",
    'save ""',
    "maxmemory-policy noeviction",
    "daemonize no",
    'logfile ""',
    "",
  ].join("\n");
}

/** Where util-linux is there, the kernel ends Redis even when the hub is killed; elsewhere the next start does (endOrphan). */
function endingWithParent(program: string, args: readonly string[]): [program: string, args: string[]] {
  const setpriv = "/usr/bin/setpriv";
  return existsSync(setpriv) ? [setpriv, ["--pdeathsig", "TERM", program, ...args]] : [program, [...args]];
}

async function launch(folder: string, socketPath: string): Promise<Launched> {
  await rm(socketPath, { force: true });
  const [program, args] = endingWithParent("redis-server", ["-"]);
  // its own process group: Ctrl-C at a terminal must not end Redis before the hub has drained
  const child = spawn(program, args, { cwd: folder, stdio: ["pipe", "pipe", "pipe"], detached: true });
  const lines: string[] = [];
  const keep = (chunk: Buffer) => {
    lines.push(...chunk.toString("utf8").split("\n").filter(Boolean));
    lines.splice(0, Math.max(0, lines.length - 5));
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  child.stdin.on("error", (error) => lines.push(error.message));
  child.stdin.end(settings(socketPath));
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", (error) => {
      lines.push(error.message);
      resolve();
    });
  });
  if (child.pid !== undefined) await writeFile(join(folder, "redis.pid"), `${child.pid}\n`, { mode: 0o600 });
  return { process: child, ended, lastLines: () => lines };
}

async function exitOf(launched: Launched, signal: AbortSignal): Promise<void> {
  const aborted = new AbortController();
  const stopWaiting = once(signal, "abort", { signal: aborted.signal }).catch(() => undefined);
  await Promise.race([launched.ended, stopWaiting]);
  aborted.abort();
}

/** A call, because the compiler believes that a signal read once stays as it was. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

function hasExited({ process }: Launched): boolean {
  return process.exitCode !== null || process.signalCode !== null || process.pid === undefined;
}

async function cameUp(launched: Launched, socketPath: string, { clock }: EmbeddedRedisDeps): Promise<boolean> {
  const deadline = clock.now() + startDeadlineMs;
  for (const never = new AbortController().signal; !hasExited(launched) && clock.now() < deadline;) {
    if (await listens(socketPath)) return true;
    await clock.sleep(10, never);
  }
  return false;
}

async function answering(launched: Launched, socketPath: string, deps: EmbeddedRedisDeps): Promise<void> {
  if (await cameUp(launched, socketPath, deps)) return;
  await stop(launched);
  throw new UserError("ISTHMUS_REDIS_START", "the embedded redis-server does not start", {
    cause: new Error(launched.lastLines().join(" | ")),
    hint: `look at its last lines and at the free space of ${deps.dataDir}`,
  });
}

async function listens(socketPath: string): Promise<boolean> {
  const socket = connect(socketPath);
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false; // not there yet; the caller has a deadline
  } finally {
    socket.destroy();
  }
}

async function stop(launched: Launched): Promise<void> {
  if (hasExited(launched)) return;
  launched.process.kill("SIGTERM");
  const overdue = setTimeout(() => launched.process.kill("SIGKILL"), stopDeadlineMs);
  await launched.ended;
  clearTimeout(overdue);
}

/**
 * A hub that was killed leaves its Redis behind, which holds the same files. It is ended, after making sure that it is
 * ours: a redis-server whose working folder is this folder.
 */
async function endOrphan(folder: string, { clock, log }: EmbeddedRedisDeps): Promise<void> {
  const pid = Number(await readFile(join(folder, "redis.pid"), "utf8").catch(() => "0"));
  if (!(await isOurs(pid, folder))) return;
  log.warn("ending the redis-server that a killed hub left behind", { pid });
  process.kill(pid, "SIGTERM");
  const deadline = clock.now() + stopDeadlineMs;
  for (const never = new AbortController().signal; await isOurs(pid, folder);) {
    if (clock.now() > deadline) process.kill(pid, "SIGKILL");
    await clock.sleep(20, never);
  }
}

async function isOurs(pid: number, folder: string): Promise<boolean> {
  if (!Number.isInteger(pid) || pid <= 1) return false;
  const [command, cwd] = await Promise.all([
    readFile(`/proc/${pid}/comm`, "utf8").catch(() => ""),
    readlink(`/proc/${pid}/cwd`).catch(() => ""),
  ]);
  return command.trim() === "redis-server" && cwd === folder;
}
