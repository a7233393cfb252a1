// Runs programs of the machine: kubectl and helm with the user's own access, nft and others with root's. Nothing secret goes into arguments.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { UserError } from "../shared/errors.ts";

export interface Finished {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export type ProgramName = "kubectl" | "helm" | "nft" | "unshare" | "getent" | "setpriv";

const installHints: Record<ProgramName, string> = {
  kubectl: "install kubectl and put it on PATH",
  helm: "install Helm 3 or newer from helm.sh and put it on PATH",
  nft: "install nftables: apt-get install nftables, or dnf install nftables",
  unshare: "install util-linux",
  setpriv: "install util-linux",
  getent: "it comes with the C library",
};

export async function runProgram(program: ProgramName, args: readonly string[], input = ""): Promise<Finished> {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  const exit = new Promise<number>((resolve, reject) => {
    child.once("error", (cause) => reject(missing(program, cause)));
    child.once("close", (code) => resolve(code ?? 1));
  });
  child.stdin.on("error", () => undefined); // it ended before it read its input: its exit status says why
  child.stdin.end(input);
  const [status, stdout, stderr] = await Promise.all([exit, text(child.stdout), text(child.stderr)]);
  return { status, stdout, stderr };
}

function missing(program: ProgramName, cause: Error): UserError {
  return new UserError("ISTHMUS_PROGRAM_MISSING", `${program} cannot be run`, { cause, hint: installHints[program] });
}

/** Standard output, or one clear line of what the program said. */
export async function mustRun(program: ProgramName, args: readonly string[], input = ""): Promise<string> {
  const { status, stdout, stderr } = await runProgram(program, args, input);
  if (status === 0) return stdout;
  const said = stderr.trim().split("\n").at(-1) ?? "";
  throw new UserError("ISTHMUS_PROGRAM_FAILED", `${program} ${args[0] ?? ""} failed with status ${status}`, {
    cause: new Error(said.replace(/^(error|Error): /, "")),
    hint: `run it by hand to see all of it: ${program} ${args.join(" ")}`,
  });
}

/** Lines as the program prints them, until it ends or the signal aborts. */
export async function* followProgram(
  program: ProgramName,
  args: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<string, void> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "ignore"] });
  child.on("error", () => undefined); // the stream of lines ends; the caller has its deadline
  const stop = () => void child.kill("SIGTERM");
  signal.addEventListener("abort", stop, { once: true });
  try {
    if (!signal.aborted) yield* createInterface({ input: child.stdout });
  } finally {
    signal.removeEventListener("abort", stop);
    stop();
  }
}
