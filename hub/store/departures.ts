// Which members have left: a file of the data folder, not Redis, because it opens a way back. A member that left is denied like a
// revoked one (the bundle lists its trust domain), but a new token takes it in again, which no revoked one can.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import { parseClusterName, type ClusterName } from "../../shared/ids.ts";
import { writeSecretFile } from "../../shared/pki/secret-file.ts";

/** One member that has left. */
export interface Departure {
  readonly cluster: ClusterName;
  /** Id of a token with which somebody may join under this name although certificates of its former life are not over. */
  readonly openTo?: string;
}

export interface Departures {
  readonly has: (cluster: ClusterName) => boolean;
  readonly isOpenTo: (cluster: ClusterName, tokenId: string) => boolean;
  /** On disk when it resolves. Who leaves again is open to no token of before. */
  set(cluster: ClusterName, departed: boolean): Promise<void>;
  /** Nothing where nobody has left. */
  openTo(cluster: ClusterName, tokenId: string): Promise<void>;
}

type Listed = ReadonlyMap<string, Departure>;

export async function openDepartures(dataDir: string): Promise<Departures> {
  const path = join(dataDir, "departed.json");
  let departed = await readDepartures(path);
  let last: Promise<unknown> = Promise.resolve();
  const change = (cluster: ClusterName, to: (before: Departure | undefined) => Departure | undefined) => {
    // one after the other: each writes the whole file
    const turn = last.then(async () => {
      const before = departed.get(cluster);
      const after = to(before);
      if (JSON.stringify(after) === JSON.stringify(before)) return;
      const others = [...departed.values()].filter((each) => each !== before);
      const next = [...others, ...(after === undefined ? [] : [after])].sort((a, b) =>
        a.cluster < b.cluster ? -1 : 1,
      );
      await writeSecretFile(path, `${JSON.stringify(next)}\n`, 0o600);
      departed = listed(next);
    });
    last = turn.catch(() => undefined);
    return turn;
  };
  return {
    has: (cluster) => departed.has(cluster),
    isOpenTo: (cluster, tokenId) => departed.get(cluster)?.openTo === tokenId,
    set: (cluster, isDeparted) => change(cluster, () => (isDeparted ? { cluster } : undefined)),
    openTo: (cluster, tokenId) => change(cluster, (before) => before && { cluster, openTo: tokenId }),
  };
}

function listed(departures: readonly Departure[]): Listed {
  return new Map(departures.map((departure) => [departure.cluster, departure]));
}

async function readDepartures(path: string): Promise<Listed> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "[]";
    throw error;
  });
  // hubs before this one wrote names alone
  const found = (JSON.parse(text) as readonly (Departure | string)[]).map((each) =>
    typeof each === "string" ? { cluster: each as ClusterName } : each,
  );
  if (found.every(({ cluster }) => parseClusterName(cluster).ok)) return listed(found);
  throw new UserError("ISTHMUS_DATA", `${path} is damaged`, { hint: "restore it from a backup of the data folder" });
}
