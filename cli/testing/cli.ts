// Runs the `isthmus` command and keeps what it printed.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { runCommand } from "../main.ts";

const isthmusProgram = fileURLToPath(new URL("../isthmus.js", import.meta.url));

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** In this process: most of what a command does, and a hundred times faster. */
export async function isthmus(words: readonly string[]): Promise<Ran> {
  let stdout = "";
  let stderr = "";
  const streams = {
    stdout: (chunk: string) => void (stdout += chunk),
    stderr: (chunk: string) => void (stderr += chunk),
  };
  const status = await runCommand(words, streams);
  return { status, stdout, stderr };
}

/** As a person runs it: through the entry that finds a Node. */
export async function isthmusProcess(words: readonly string[], node = process.execPath): Promise<Ran> {
  const child = spawn(node, [isthmusProgram, ...words], { stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "exit") as Promise<[number | null]>;
  const [stdout, stderr, [status]] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { status, stdout, stderr };
}

export interface RunningHub {
  readonly child: ChildProcess;
  /** Standard error so far. */
  log(): string;
  stop(): Promise<number | null>;
}

/** `isthmus hub` on ports that are free; resolves when it says that it runs. */
export async function runningHub(dataDir: string, more: readonly string[] = []): Promise<RunningHub> {
  const args = [isthmusProgram, "hub", "--data", dataDir, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", ...more];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(child, "exit") as Promise<[number | null]>;
  let said = "";
  await new Promise<void>((resolve, reject) => {
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString("utf8");
      if (said.includes("the hub runs")) resolve();
    });
    child.once("exit", () => reject(new Error(said)));
  });
  return {
    child,
    log: () => said,
    stop: async () => {
      child.kill("SIGTERM");
      return (await ended)[0];
    },
  };
}
