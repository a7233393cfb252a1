// Which members have left: a file of the data folder, not Redis, because it opens a way back. A member that left is denied like a
// revoked one (the bundle lists its trust domain), but a new token takes it in again, which no revoked one can.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import { parseClusterName, type ClusterName } from "../../shared/ids.ts";
import { writeSecretFile } from "../../shared/pki/secret-file.ts";

export interface Departures {
  readonly has: (cluster: ClusterName) => boolean;
  /** On disk when it resolves. */
  set(cluster: ClusterName, departed: boolean): Promise<void>;
}

export async function openDepartures(dataDir: string): Promise<Departures> {
  const path = join(dataDir, "departed.json");
  let departed = await readDepartures(path);
  let last: Promise<unknown> = Promise.resolve();
  const change = async (cluster: ClusterName, isDeparted: boolean) => {
    if (departed.has(cluster) === isDeparted) return;
    const others = [...departed].filter((name) => name !== cluster);
    const next = new Set(isDeparted ? [...others, cluster].sort() : others);
    await writeSecretFile(path, `${JSON.stringify([...next])}\n`, 0o600);
    departed = next;
  };
  return {
    has: (cluster) => departed.has(cluster),
    set: (cluster, isDeparted) => {
      // one after the other: each writes the whole file
      const turn = last.then(() => change(cluster, isDeparted));
      last = turn.catch(() => undefined);
      return turn;
    },
  };
}

async function readDepartures(path: string): Promise<ReadonlySet<ClusterName>> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "[]";
    throw error;
  });
  const names = (JSON.parse(text) as readonly string[]).map(parseClusterName);
  if (names.every((name) => name.ok)) return new Set(names.map(({ value }) => value));
  throw new UserError("ISTHMUS_DATA", `${path} is damaged`, { hint: "restore it from a backup of the data folder" });
}
