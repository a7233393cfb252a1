// The private folder of one running workload, or of a site: Envoy's configuration and admin socket. Its existence is the claim that
// it runs on this machine; who holds it is written in it.
import { createHash } from "node:crypto";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { UserError } from "../../shared/errors.ts";
import { isAlive } from "../child-process.ts";
import type { RunConfig } from "./options.ts";

/** sun_path holds 104 bytes on macOS and 108 on Linux, end mark included. */
const MAX_SOCKET_PATH = 103;

export interface RunFolder {
  readonly path: string;
  readonly adminSocket: string;
  /** What a process that died left behind: it had registered the workload itself. */
  readonly wasRegistered: boolean;
  remember(registered: boolean): Promise<void>;
  remove(): Promise<void>;
}

interface Owner {
  readonly pid: number;
  readonly registered: boolean;
}

export interface RunFolderPlace {
  /** Data folder, or credential folder: those may be read-only. */
  readonly from: RunConfig["from"];
  readonly env: NodeJS.ProcessEnv;
  readonly uid: number;
}

/** Below the data folder, unless its path leaves no room for a socket's name. Pure. */
export function runFolderPath(name: string, { from, env, uid }: RunFolderPlace): string {
  const own = join(from.dir, "run", name);
  if (from.kind === "data" && Buffer.byteLength(join(own, socketName)) <= MAX_SOCKET_PATH) return own;
  const runtime = env["XDG_RUNTIME_DIR"] ?? "";
  const base = runtime === "" ? join(tmpdir(), `isthmus-${uid}`) : join(runtime, "isthmus");
  // two sites of one machine may have workloads of one name
  const digest = createHash("sha256")
    .update(JSON.stringify([from.dir, name]))
    .digest("hex");
  return join(base, digest.slice(0, 16));
}

const socketName = "admin.sock";
const ownerFile = "owner.json";

/** `taken` makes the error for a folder that a living process holds. */
export async function openRunFolder(path: string, taken: (pid: number) => UserError): Promise<RunFolder> {
  await privateFolder(dirname(path));
  const left = await claim(path, taken);
  const remember = async (registered: boolean) => {
    await writeFile(join(path, `${ownerFile}.new`), ownerText(registered));
    await rename(join(path, `${ownerFile}.new`), join(path, ownerFile));
  };
  return {
    path,
    adminSocket: join(path, socketName),
    wasRegistered: left?.registered === true,
    remember,
    remove: () => rm(path, { recursive: true, force: true }),
  };
}

/** A folder below /tmp could have been made by somebody else, who would then see the admin socket. */
async function privateFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  const { uid } = await stat(path);
  if (uid === process.getuid?.()) return;
  throw new UserError("ISTHMUS_FILE_MODE", `${path} belongs to user ${uid}`, {
    hint: "set XDG_RUNTIME_DIR to a folder of your own",
  });
}

/** The folder appears with its owner's name in it, by one rename, which fails where a folder that is in use stands. */
async function claim(path: string, taken: (pid: number) => UserError): Promise<Owner | undefined> {
  const draft = `${path}.${process.pid}`;
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { mode: 0o700 });
  await writeFile(join(draft, ownerFile), ownerText(false));
  let left: Owner | undefined;
  while (!(await renamed(draft, path))) {
    const owner = await ownerOf(path);
    if (owner !== undefined && isAlive(owner.pid)) {
      await rm(draft, { recursive: true, force: true });
      throw taken(owner.pid);
    }
    left = owner ?? left;
    // by a rename, so that of two that take over one wins
    const aside = `${draft}.left`;
    await rename(path, aside).catch(() => undefined);
    await rm(aside, { recursive: true, force: true });
  }
  return left;
}

async function renamed(from: string, to: string): Promise<boolean> {
  return rename(from, to).then(
    () => true,
    (error: unknown) => {
      if (["ENOTEMPTY", "EEXIST"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
      throw error;
    },
  );
}

function ownerText(registered: boolean): string {
  return JSON.stringify({ pid: process.pid, registered } satisfies Owner);
}

async function ownerOf(path: string): Promise<Owner | undefined> {
  const text = await readFile(join(path, ownerFile), "utf8").catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as Owner);
}
