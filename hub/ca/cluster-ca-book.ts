// Which cluster CAs the hub has signed and when the last of each name ends: `<data>/cluster-cas.json`. Nothing can take such a
// certificate back before its end but the removal of its root, so a name that was left is not given away before. In the data
// folder, because whoever can write to Redis must not shorten that. Called by authority.ts.
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import type { ClusterName } from "../../shared/ids.ts";
import { fileExists, readSecretFile, writeSecretFile } from "../../shared/pki/secret-file.ts";

export interface SignedClusterCa {
  /** Id of the root that it chains to. */
  readonly root: string;
  readonly notAfterMs: number;
}

export interface ClusterCaBook {
  /** On disk when it resolves, which must be before anybody gets the certificate. */
  note(cluster: ClusterName, signed: SignedClusterCa, nowMs: number): Promise<void>;
  /** When the last one below one of these roots ends; 0: nobody can use any. */
  trustedUntilMs(cluster: ClusterName, roots: ReadonlySet<string>, nowMs: number): number;
}

type Entries = Readonly<Record<string, readonly SignedClusterCa[]>>;

export async function openClusterCaBook(dataDir: string): Promise<ClusterCaBook> {
  const path = join(dataDir, "cluster-cas.json");
  let entries = await readEntries(path);
  let last: Promise<unknown> = Promise.resolve();
  const write = async (next: Entries) => {
    await writeSecretFile(path, `${JSON.stringify(next)}\n`, 0o600);
    entries = next;
  };
  return {
    note: (cluster, signed, nowMs) => {
      // one after the other: each writes the whole file
      const turn = last.then(() => write(withSigned(entries, cluster, { signed, nowMs })));
      last = turn.catch(() => undefined);
      return turn;
    },
    trustedUntilMs: (cluster, roots, nowMs) => {
      const live = (entries[cluster] ?? []).filter(({ root, notAfterMs }) => roots.has(root) && notAfterMs > nowMs);
      return Math.max(0, ...live.map(({ notAfterMs }) => notAfterMs));
    },
  };
}

/** One entry for each root is enough: the one that ends last. What has ended is forgotten. */
function withSigned(
  entries: Entries,
  cluster: ClusterName,
  { signed, nowMs }: { readonly signed: SignedClusterCa; readonly nowMs: number },
): Entries {
  const living = Object.entries(entries).map(
    ([name, list]) => [name, list.filter(({ notAfterMs }) => notAfterMs > nowMs)] as const,
  );
  const kept = Object.fromEntries(living.filter(([, list]) => list.length > 0));
  const own = kept[cluster] ?? [];
  const before = own.find(({ root }) => root === signed.root);
  const notAfterMs = Math.max(signed.notAfterMs, before?.notAfterMs ?? 0);
  return { ...kept, [cluster]: [...own.filter((each) => each !== before), { root: signed.root, notAfterMs }] };
}

async function readEntries(path: string): Promise<Entries> {
  if (!(await fileExists(path))) return {};
  const text = await readSecretFile(path);
  try {
    const entries = JSON.parse(text) as Entries;
    const whole = Object.values(entries).every((list) => list.every(isSigned));
    if (whole) return entries;
  } catch {
    throw damaged(path);
  }
  throw damaged(path);
}

function isSigned({ root, notAfterMs }: SignedClusterCa): boolean {
  return typeof root === "string" && typeof notAfterMs === "number";
}

function damaged(path: string): UserError {
  return new UserError("ISTHMUS_DATA", `${path} is damaged`, { hint: "restore it from a backup of the data folder" });
}
