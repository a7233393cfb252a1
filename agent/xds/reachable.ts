// Where a caller's grants lead: all that its configuration takes from policy. Another match or port of a grant is the server's
// alone, so that it costs the caller's sidecar nothing. Called by translate.
import { accountKey, grantsOfName, namesCaller, type Account } from "../ir/grants.ts";
import type { GrantIr, MeshIr } from "../ir/types.ts";
import { remembered } from "./remembered.ts";

export interface Reachable {
  /** Keys of service accounts, sorted. */
  readonly accounts: readonly string[];
  readonly namespaces: readonly string[];
  /** All of this, to be compared quickly. */
  readonly text: string;
}

function reachableBy(grants: readonly GrantIr[]): Reachable {
  const keyOf = (grant: GrantIr) => accountKey(grant.destinationNamespace, grant.destinationServiceAccount);
  const accounts = [...new Set(grants.map(keyOf))].sort();
  const namespaces = [...new Set(grants.map((grant) => grant.destinationNamespace))].sort();
  return { accounts, namespaces, text: accounts.join(" ") };
}

/** Of a caller that no grant names. */
export const nowhere: Reachable = reachableBy([]);

/** By grants that name the caller, as this member's or as anybody's of that name. */
export function reachableFrom({ grants, cluster }: MeshIr, caller: Account): Reachable {
  const sameName = grantsOfName(grants, caller);
  if (sameName.length === 0) return nowhere;
  const { namespace, serviceAccount } = caller;
  return remembered(sameName, `reachable|${cluster}|${namespace}/${serviceAccount}`, () =>
    reachableBy(sameName.filter((grant) => namesCaller(grant, caller, cluster))),
  );
}
