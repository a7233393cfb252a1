// The redirect of one running workload: made before its sidecar starts, in force before its application does, gone after both. What a
// run that was killed has left is taken away by the next one.
import process from "node:process";
import { UserError } from "../../shared/errors.ts";
import { runProgram } from "../program.ts";
import { asApplication, asSidecar, loadRules, makeGroup, ownGroup, processMark, removeGroup } from "./group.ts";
import { redirectRules, type RedirectPlan } from "./rules.ts";

export interface Redirect {
  sidecarCommand(command: readonly string[]): readonly string[];
  applicationCommand(command: readonly string[]): readonly string[];
  /** From here on nothing that the application sends over TCP leaves but through the sidecar. */
  enforce(plan: Omit<RedirectPlan, "table" | "group">): Promise<void>;
  /** Ends what is left of the application, then takes the rules away. */
  close(): Promise<void>;
}

const PREFIX = "isthmus_run_";

/** Before anything is started or claimed. */
export function checkMayRedirect(uid = process.getuid?.(), platform: string = process.platform): void {
  if (uid === 0 && platform === "linux") return;
  throw new UserError("ISTHMUS_ROOT", "--redirect changes the machine's nftables, which root alone may (Linux)", {
    hint: "run it as root with --user NAME for the program; without --redirect a program calls by HTTP proxy or by name, and needs no root",
  });
}

export async function openRedirect(): Promise<Redirect> {
  const mark = await processMark(process.pid);
  if (mark === undefined) throw new Error("this process has no /proc entry");
  const name = `${PREFIX}${mark}`;
  const parent = await ownGroup();
  const below = (child: string) => (parent === "" ? child : `${parent}/${child}`);
  const group = below(name);
  for (const table of await deadOf(await tables())) await removeTable(table);
  for (const left of await deadOf(await makeGroup(group))) await removeGroup(below(left));
  return {
    sidecarCommand: (command) => asSidecar(group, command),
    applicationCommand: (command) => asApplication(group, command),
    enforce: (plan) => loadRules(redirectRules({ ...plan, table: name, group })),
    close: async () => {
      await removeGroup(group);
      await removeTable(name);
    },
  };
}

async function tables(): Promise<readonly string[]> {
  const { status, stdout, stderr } = await runProgram("nft", ["list", "tables", "inet"]);
  if (status === 0) return stdout.split("\n").map((line) => line.replace(/^table inet /, ""));
  throw new UserError("ISTHMUS_REDIRECT_KERNEL", "this machine's nftables cannot be read", {
    cause: new Error(stderr.trim()),
    hint: "it needs the right to change the network (CAP_NET_ADMIN) and a kernel with nftables",
  });
}

/** Of these names those that a run made which is no more. */
async function deadOf(names: readonly string[]): Promise<readonly string[]> {
  const own = await processMark(process.pid);
  const dead = await Promise.all(names.map(async (name) => ((await isOfTheDead(name, own)) ? [name] : [])));
  return dead.flat();
}

/** A process of another pid namespace cannot be looked at: it lives until its own side says otherwise. */
async function isOfTheDead(name: string, own: string | undefined): Promise<boolean> {
  const [, space, pid] = /^isthmus_run_(\d+)_(\d+)_\d+$/.exec(name) ?? [];
  if (pid === undefined || space !== own?.split("_")[0]) return false;
  return name !== `${PREFIX}${await processMark(Number(pid))}`;
}

async function removeTable(name: string): Promise<void> {
  // added first, for one that is not there cannot be deleted
  await runProgram("nft", [`add table inet ${name}; delete table inet ${name}`]);
}
