// Which records a member is sent: what it may import. Every member may import every exported service of the others
// (an export is the opt-in, KEP-1645); its own records it knows better than the hub does.
import type { ClusterName } from "../../shared/ids.ts";
import type { RegistryRecord } from "../../shared/registry.ts";
import { ownsKey } from "./decide.ts";

export function mayImport(importer: ClusterName, key: string): boolean {
  return !ownsKey(importer, key);
}

/** Policy goes to the members that its author names; a member that is named no longer is told that it is gone. */
export function isFor(importer: ClusterName, record: RegistryRecord): boolean {
  return record.kind !== "policy" || record.members.includes("*") || record.members.includes(importer);
}
