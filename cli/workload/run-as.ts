// The user that a workload runs as when root starts it: its program and its sidecar, as a service manager would start them.
import { chmod, chown, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { UserError } from "../../shared/errors.ts";
import { runProgram } from "../program.ts";

export interface RunUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly shell: string;
}

export async function findUser(name: string): Promise<RunUser> {
  if (process.getuid?.() !== 0) {
    throw new UserError("ISTHMUS_ROOT", "--user needs root", {
      hint: `start it as ${name} without --user, or as root`,
    });
  }
  const { stdout } = await runProgram("getent", ["passwd", "--", name]);
  const user = parsePasswd(stdout);
  if (user !== undefined) return user;
  throw new UserError("ISTHMUS_WORKLOAD_USER", `this machine has no user ${name}`, {
    hint: "make it, or name another with --user",
  });
}

/** A line of passwd(5). */
export function parsePasswd(line: string): RunUser | undefined {
  const [name = "", , uid = "", gid = "", , home = "", shell = ""] = line.trim().split(":");
  if (!/^\d+$/.test(uid) || !/^\d+$/.test(gid)) return undefined;
  return { name, uid: Number(uid), gid: Number(gid), home, shell };
}

/** A program below root's home, such as an Envoy that was fetched for root, is nothing that another user can start. */
export async function checkMayRun(user: RunUser | undefined, program: string): Promise<void> {
  if (user === undefined || (await may(user, "-x", program))) return;
  throw new UserError("ISTHMUS_USER_FILE", `${user.name} may not run ${program}`, {
    hint: "put it where every user may, such as /usr/local/bin; an Envoy there is found on PATH, or named with --envoy",
  });
}

async function may(user: RunUser, what: "-x" | "-w", path: string): Promise<boolean> {
  const [, ...args] = as(user, [], ["test", what, path]);
  return (await runProgram("setpriv", args)).status === 0;
}

function as({ name, gid }: RunUser, more: readonly string[], command: readonly string[]): readonly string[] {
  // another user is another credential, with which the kernel forgets the signal at the parent's death: asked for again
  const who = ["--reuid", name, "--regid", String(gid), "--init-groups", "--pdeathsig", "TERM"];
  return ["setpriv", ...who, ...more, "--", ...command];
}

export function programAs(user: RunUser | undefined, command: readonly string[]): readonly string[] {
  return user === undefined ? command : as(user, ["--inh-caps", "-all"], command);
}

/** It may take ports below 1024 for the workload, as the sidecar of a pod may. */
export function sidecarAs(user: RunUser | undefined, command: readonly string[]): readonly string[] {
  const bind = "-all,+net_bind_service";
  return user === undefined ? command : as(user, ["--inh-caps", bind, "--ambient-caps", bind], command);
}

export function environmentOf(user: RunUser | undefined, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  if (user === undefined) return env;
  const { name, home, shell } = user;
  return { ...env, HOME: home, USER: name, LOGNAME: name, SHELL: shell };
}

/** The folder and what is in it become the user's; the folder above lets it through and lists nothing. */
export async function giveFolder(user: RunUser | undefined, folder: string): Promise<void> {
  if (user === undefined) return;
  await chmod(dirname(folder), 0o711);
  for (const name of await readdir(folder)) await chown(join(folder, name), user.uid, user.gid);
  await chown(folder, user.uid, user.gid);
  if (await may(user, "-w", folder)) return;
  throw new UserError("ISTHMUS_USER_FILE", `${user.name} does not get to ${folder}`, {
    hint: "a folder above it is closed: choose a data folder below one that every user may enter, such as /var/lib",
  });
}
