// Control groups by which the kernel knows whose connection is whose: one for a workload, in it one for the application and one for the
// sidecar. They lie below this program's own group, so a service manager that limits or ends this program's group has them all.
// They are made in the unified hierarchy (version 2), which every kernel has beside version 1. It is mounted for the moment of
// each step where nobody else sees it: the machine's own mounts differ, and nft looks for groups in this one place.
import { readFile, readlink } from "node:fs/promises";
import { UserError } from "../../shared/errors.ts";
import { runProgram } from "../program.ts";

export const groupNames = { application: "application", sidecar: "sidecar" } as const;

const MOUNTED = "/sys/fs/cgroup";
const mount = `mount -t cgroup2 none ${MOUNTED}`;

/** `$1`: group. Says what stands beside it. */
const makeAndList = `${mount} && cd ${MOUNTED} || exit 1
mkdir -p "$1/${groupNames.application}" "$1/${groupNames.sidecar}" && ls "$(dirname "$1")"`;

/** Whatever the application left running goes with it: outside its group it would call past the redirect. */
const killAndRemove = `${mount} && cd ${MOUNTED} || exit 1
[ -d "$1" ] || exit 0
echo 1 > "$1/cgroup.kill" || kill -9 $(cat "$1"/*/cgroup.procs)
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  find "$1" -depth -type d -exec rmdir {} + 2>/dev/null
  [ -d "$1" ] || exit 0
  sleep 0.05
done
exit 1`;

/** Caches that look names up for a program: what they ask is not the program's to ask, so it must ask for itself. */
const lookupSockets = ["/run/systemd/resolve/io.systemd.Resolve", "/run/nscd/socket"];
const hideLookups = lookupSockets
  .map((path) => `[ ! -S ${path} ] || mount --bind /dev/null ${path} || exit 126`)
  .join("\n");
const enter = `${mount} && echo 0 > "${MOUNTED}/$1/cgroup.procs" && umount ${MOUNTED} || exit 126
shift`;
const run = `exec "$@"`;

function unshared(script: string, ...args: readonly string[]): readonly string[] {
  return ["--mount", "--propagation", "slave", "sh", "-c", script, "sh", ...args];
}

/** The same command as one of the group. What others mount later is seen in it; what it mounts is not seen by others. */
export function asApplication(group: string, command: readonly string[]): readonly string[] {
  return [
    "unshare",
    ...unshared([hideLookups, enter, run].join("\n"), `${group}/${groupNames.application}`, ...command),
  ];
}

export function asSidecar(group: string, command: readonly string[]): readonly string[] {
  return ["unshare", ...unshared([enter, run].join("\n"), `${group}/${groupNames.sidecar}`, ...command)];
}

/** Of this process, from the root of the unified hierarchy; empty: the root, or a machine that has not mounted it. */
export async function ownGroup(): Promise<string> {
  const text = await readFile("/proc/self/cgroup", "utf8");
  return parseOwnGroup(text);
}

export function parseOwnGroup(text: string): string {
  return /^0::\/(.*)$/m.exec(text)?.[1] ?? "";
}

/** No two processes of a machine ever have the same mark: number, start (clock ticks since boot) and pid namespace. */
export async function processMark(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  // the program's name may hold spaces and brackets, so fields are counted behind its last bracket (proc(5): field 22)
  const started = text?.slice(text.lastIndexOf(")") + 2).split(" ")[19];
  if (started === undefined) return undefined;
  const space = /\d+/.exec(await readlink("/proc/self/ns/pid"))?.[0] ?? "";
  return `${space}_${pid}_${started}`;
}

/** Resolves with the names of the groups beside it, itself among them. */
export async function makeGroup(group: string): Promise<readonly string[]> {
  return (await mustUnshare(unshared(makeAndList, group))).trim().split("\n");
}

export async function removeGroup(group: string): Promise<void> {
  await mustUnshare(unshared(killAndRemove, group));
}

/** nft in the place where it finds the group that its rules name. */
export async function loadRules(rules: string): Promise<void> {
  await mustUnshare(unshared(`${mount} && exec nft -f -`), rules);
}

async function mustUnshare(args: readonly string[], input = ""): Promise<string> {
  const { status, stdout, stderr } = await runProgram("unshare", args, input);
  if (status === 0) return stdout;
  const said = stderr.trim().split("\n")[0] ?? "";
  throw new UserError("ISTHMUS_REDIRECT_KERNEL", "the redirect cannot be set up on this machine", {
    cause: new Error(said === "" ? `status ${status}` : said),
    hint: "it needs Linux 5.14 and nft 1.0, outside a container; without --redirect a program calls by HTTP proxy or by name",
  });
}
