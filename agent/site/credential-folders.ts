// Keeps one credential folder per workload, and the gateway's: what a sidecar beside it starts from and lives on. A token is
// written anew at half of its life; what is right already is not touched; the folder goes with its workload.
import { chmod, chown, mkdir, open, readdir, readFile, rename, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Clock } from "../../shared/clock.ts";
import { credentialFile, workloadFolder, type CredentialFacts } from "./credential-folder.ts";
import { isRoot, userNumber } from "./machine.ts";
import { issueToken, TOKEN_TTL_MS, verifyToken } from "./workload-token.ts";

export interface Credential {
  readonly folder: string;
  readonly facts: CredentialFacts;
  /** Owner; empty: this program's user. */
  readonly user: string;
  /** The names of the site's services (host-names.ts); absent for the gateway. */
  readonly hosts?: string;
}

export interface CredentialDeps {
  readonly dataDir: string;
  readonly key: Uint8Array;
  readonly clock: Clock;
  readonly rootsPem: () => string;
}

export async function writeCredential(credential: Credential, deps: CredentialDeps): Promise<void> {
  const { folder, facts } = credential;
  const owner = isRoot() ? await userNumber(credential.user) : undefined;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  if (owner !== undefined) {
    await chown(folder, owner, owner);
    // its owner must get there; nobody can list what is on the way
    for (const path of foldersAbove(folder, deps.dataDir)) await chmod(path, 0o711);
  }
  const write = (name: string, text: string, mode: number) => replaceFile(join(folder, name), text, { mode, owner });
  await write(credentialFile.roots, deps.rootsPem(), 0o600);
  await write(credentialFile.facts, `${JSON.stringify(facts, null, 2)}\n`, 0o600);
  if (credential.hosts !== undefined) await write(credentialFile.hosts, credential.hosts, 0o600);
  if (await isFresh(folder, facts, deps)) return;
  const expiresAtMs = deps.clock.now() + TOKEN_TTL_MS;
  const { namespace, serviceAccount, name } = facts;
  await write(credentialFile.token, issueToken(deps.key, { namespace, serviceAccount, name, expiresAtMs }), 0o600);
}

function foldersAbove(folder: string, top: string): readonly string[] {
  const above = dirname(folder);
  return above === top || above === dirname(above) ? [top] : [above, ...foldersAbove(above, top)];
}

async function isFresh(folder: string, facts: CredentialFacts, { key, clock }: CredentialDeps): Promise<boolean> {
  const text = await readIfThere(join(folder, credentialFile.token));
  const claims = text === undefined ? undefined : verifyToken(key, text, clock.now() + TOKEN_TTL_MS / 2);
  if (claims?.ok !== true) return false;
  const { namespace, serviceAccount, name } = claims.value;
  return namespace === facts.namespace && serviceAccount === facts.serviceAccount && name === facts.name;
}

interface FileOptions {
  readonly mode: number;
  readonly owner: number | undefined;
}

/** Renamed into place within the folder: a watcher of the folder sees one event, and no reader sees half a file. */
async function replaceFile(path: string, text: string, { mode, owner }: FileOptions): Promise<void> {
  if ((await readIfThere(path)) === text) return;
  const part = `${path}.part`;
  await rm(part, { force: true });
  const file = await open(part, "wx", mode);
  try {
    // by its handle: the folder's owner could put a link to another's file in the place of the name
    if (owner !== undefined) await file.chown(owner, owner);
    await file.writeFile(text);
  } finally {
    await file.close();
  }
  await rename(part, path);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Folders of workloads that are no more. */
export async function removeOtherCredentials(wanted: readonly Credential[], dataDir: string): Promise<void> {
  const kept = new Set(wanted.map(({ folder }) => folder));
  const top = join(dataDir, "workloads");
  for (const namespace of await namesIn(top)) {
    for (const name of await namesIn(join(top, namespace))) {
      const folder = workloadFolder(dataDir, { namespace, name });
      if (!kept.has(folder)) await rm(folder, { recursive: true });
    }
    if ((await namesIn(join(top, namespace))).length === 0) await rmdir(join(top, namespace));
  }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
