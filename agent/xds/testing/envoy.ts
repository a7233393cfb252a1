// A real Envoy for tests: found, started, watched, stopped. Its resources come from files (file-xds.ts).
// Processes die with the test, a killed one included (setpriv --pdeathsig).
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export type Found = { readonly path: string } | { readonly missing: string };

/** ISTHMUS_ENVOY, else what the test clusters have cached; CI must not pass by skipping. */
export function findEnvoy(): Found {
  const given = process.env["ISTHMUS_ENVOY"];
  if (given !== undefined && given !== "")
    return existsSync(given) ? { path: given } : missing(`ISTHMUS_ENVOY=${given} does not exist`);
  const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "isthmus");
  const entries = existsSync(cache) ? readdirSync(cache).filter((name) => name.startsWith("envoy-")) : [];
  const found = entries
    .sort()
    .map((name) => join(cache, name, "envoy"))
    .findLast((path) => existsSync(path));
  return found === undefined
    ? missing("no Envoy: set ISTHMUS_ENVOY to its binary, or let `npm run clusters` fetch one")
    : { path: found };
}

/** Says why tests are skipped, aloud; with CI=true a skip is a failure. */
export function skipReason(reason: string | undefined): string | undefined {
  if (reason === undefined) return undefined;
  if (process.env["CI"] === "true") throw new Error(`${reason} (with CI=true this test may not be skipped)`);
  console.warn(`skipped: ${reason}`);
  return reason;
}

function missing(reason: string): Found {
  skipReason(reason);
  return { missing: reason };
}

export interface Running {
  readonly pid: number;
  /** Everything it said, for a failed assertion. */
  log(): string;
  write(text: string): void;
  closeInput(): void;
  stop(): Promise<void>;
}

export function start(command: readonly string[], environment: Readonly<Record<string, string>> = {}): Running {
  const child: ChildProcess = spawn("setpriv", ["--pdeathsig", "KILL", ...command], {
    env: { ...process.env, ...environment },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let text = "";
  const exited = new Promise<void>((resolve) => child.once("close", () => resolve()));
  child.once("error", (error) => (text += String(error)));
  child.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (text += chunk.toString()));
  if (child.pid === undefined) throw new Error(`could not start ${command.join(" ")}`);
  return {
    pid: child.pid,
    log: () => text,
    write: (line) => void child.stdin?.write(line),
    closeInput: () => child.stdin?.end(),
    async stop() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

/** Asks until `probe` gives something else than undefined; says the last error at the deadline. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined>,
  deadlineMs = 45_000,
): Promise<T> {
  const end = performance.now() + deadlineMs;
  let last: unknown;
  while (performance.now() < end) {
    try {
      const value = await probe();
      if (value !== undefined) return value;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`${what}: not within ${deadlineMs} ms`, { cause: last });
}
