// Runs the programs that images are made with. Output is kept and shown only when a program fails: a build that
// works should not scroll. A full disk is recognised here, because every one of these programs words it differently.
import { spawn } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import process from "node:process";
import { UserError } from "../../shared/errors.ts";

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Standard output of a program that ended with status 0; else a UserError with the end of what it said. */
export async function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const [program, ...args] = argv;
  if (program === undefined) throw new Error("no program given");
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on("error", (error) => reject(new Error(`cannot start ${program}`, { cause: error })));
    child.on("close", resolve);
  });
  const text = Buffer.concat(stdout).toString("utf8");
  if (status === 0) return text;
  throw failure(program, status, `${text}\n${Buffer.concat(stderr).toString("utf8")}`);
}

function failure(program: string, status: number | null, output: string): UserError {
  const tail = output.trim().split("\n").slice(-12).join("\n");
  if (/no space left on device|disk quota exceeded/i.test(output)) {
    return new UserError("ISTHMUS_DISK_FULL", `${program} found no space left on the disk`, {
      cause: tail,
      hint: "free 3 GB, or set XDG_CACHE_HOME to a folder on a larger disk",
    });
  }
  return new UserError("ISTHMUS_IMAGE_BUILD", `${program} ended with status ${String(status)}: ${tail}`, {
    hint: "the program's own message above says why",
  });
}

/** Where the program is on PATH; system folders are searched too, because a user's PATH often lacks /usr/sbin. */
export async function findProgram(name: string): Promise<string | undefined> {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  for (const folder of folders) {
    const path = join(folder, name);
    const usable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (folder !== "" && usable) return path;
  }
  return undefined;
}

/** True when the program runs and ends with status 0. */
export async function succeeds(argv: readonly string[]): Promise<boolean> {
  const [program, ...args] = argv;
  if (program === undefined) return false;
  const child = spawn(program, args, { stdio: "ignore" });
  return new Promise((resolve) => {
    child.on("error", () => resolve(false));
    child.on("close", (status) => resolve(status === 0));
  });
}
