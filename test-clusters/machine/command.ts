// Runs one program to its end and gives its output. Long-lived programs are started by run/processes.ts instead.
import { spawn } from "node:child_process";
import { access, constants } from "node:fs/promises";

export interface CommandOptions {
  readonly input?: string;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  /** The kernel kills the program when this process dies, even by kill -9 (prctl PR_SET_PDEATHSIG, by setpriv(1)). */
  readonly diesWithUs?: boolean;
  /** Sees every line of standard error as it comes (progress of a build). */
  readonly onStderrLine?: (line: string) => void;
}

/** A program that ended with a status other than 0; `stderr` holds its last words. */
export class CommandError extends Error {
  readonly status: number | null;
  readonly stderr: string;

  constructor(line: string, status: number | null, stderr: string) {
    super(`${line} ended with ${status === null ? "a signal" : `status ${String(status)}`}: ${lastWords(stderr)}`);
    this.name = "CommandError";
    this.status = status;
    this.stderr = stderr;
  }
}

function lastWords(stderr: string): string {
  return stderr.trim().split("\n").slice(-4).join("; ").slice(-600) || "no message";
}

/** Standard output of the program; throws a CommandError that carries standard error. */
export function runCommand(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const [program, programArgs] = options.diesWithUs
    ? (["setpriv", ["--pdeathsig", "KILL", command, ...args]] as const)
    : ([command, args] as const);
  return new Promise((resolve, reject) => {
    const child = spawn(program, programArgs, {
      cwd: options.cwd,
      env: options.env,
      stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      ...(options.signal === undefined ? {} : { signal: options.signal, killSignal: "SIGKILL" as const }),
      ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs, killSignal: "SIGKILL" as const }),
    });
    const out: Buffer[] = [];
    let stderr = "";
    child.stdout?.on("data", (chunk: Buffer) => out.push(chunk));
    child.stderr?.on("data", (chunk: Buffer) => {
      const text = chunk.toString("utf8");
      stderr = (stderr + text).slice(-64_000);
      if (options.onStderrLine) for (const line of text.split("\n")) if (line.trim()) options.onStderrLine(line.trim());
    });
    child.stdin?.on("error", () => undefined); // EPIPE: the status says why it ended before reading
    child.on("error", (cause) => {
      const stopped: unknown = options.signal?.aborted === true ? options.signal.reason : undefined;
      reject(stopped instanceof Error ? stopped : new Error(`cannot run ${command}`, { cause }));
    });
    child.on("close", (status) => {
      if (status === 0) resolve(Buffer.concat(out).toString("utf8"));
      else reject(new CommandError([command, ...args].join(" ").slice(0, 200), status, stderr));
    });
    child.stdin?.end(options.input);
  });
}

/** Whether the program exists on PATH (or at the given path) and can be executed. */
export async function findProgram(name: string, env: NodeJS.ProcessEnv = process.env): Promise<string | undefined> {
  const path = `${env["PATH"] ?? ""}:/usr/local/sbin:/usr/sbin:/sbin`;
  for (const folder of path.split(":")) {
    if (folder === "") continue;
    const candidate = `${folder}/${name}`;
    try {
      await access(candidate, constants.X_OK);
      return candidate;
    } catch {
      continue; // not in this folder
    }
  }
  return undefined;
}
