// The names that a workload's `hosts` file holds, as the file is now. It is looked at when somebody asks, so nothing runs while nobody
// does; what was read last stays when the file is away, for the agent may be too.
import { readFile, stat } from "node:fs/promises";
import { parseHosts, type Zone } from "./zone.ts";

export function namesOf(path: string): () => Promise<Zone> {
  let zone = parseHosts("");
  let seen = "";
  return async () => {
    const mark = await stat(path, { bigint: true }).then(
      ({ ino, mtimeNs, size }) => `${ino} ${mtimeNs} ${size}`,
      () => "",
    );
    if (mark === "" || mark === seen) return zone;
    const text = await readFile(path, "utf8").catch(() => undefined);
    if (text === undefined) return zone;
    seen = mark;
    zone = parseHosts(text);
    return zone;
  };
}
