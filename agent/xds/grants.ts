// Which grants concern a proxy: as a caller (what it may see) and as a server (what it enforces). Called by translate.
// The index is remembered per array of grants, so that a push looks at each grant once however many proxies there are.
import type { GrantIr, MeshIr } from "../ir/types.ts";

interface GrantIndex {
  readonly bySource: ReadonlyMap<string, readonly GrantIr[]>;
  readonly byDestination: ReadonlyMap<string, readonly GrantIr[]>;
}

const indexes = new WeakMap<readonly GrantIr[], GrantIndex>();

export function accountKey(namespace: string, serviceAccount: string): string {
  return `${namespace}/${serviceAccount}`;
}

function add(index: Map<string, GrantIr[]>, key: string, grant: GrantIr): void {
  const known = index.get(key);
  if (known === undefined) index.set(key, [grant]);
  else if (known.at(-1) !== grant) known.push(grant);
}

function indexOf(grants: readonly GrantIr[]): GrantIndex {
  const known = indexes.get(grants);
  if (known !== undefined) return known;
  const bySource = new Map<string, GrantIr[]>();
  const byDestination = new Map<string, GrantIr[]>();
  for (const grant of grants) {
    add(byDestination, accountKey(grant.destinationNamespace, grant.destinationServiceAccount), grant);
    for (const source of grant.sources) add(bySource, accountKey(source.namespace, source.serviceAccount), grant);
  }
  const index = { bySource, byDestination };
  indexes.set(grants, index);
  return index;
}

export interface Account {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** Grants that name the caller, as this cluster's or as anybody's of that name. */
export function grantsFrom(ir: MeshIr, caller: Account): readonly GrantIr[] {
  const sameName = indexOf(ir.grants).bySource.get(accountKey(caller.namespace, caller.serviceAccount)) ?? [];
  return sameName.filter((grant) =>
    grant.sources.some(
      (source) =>
        source.namespace === caller.namespace &&
        source.serviceAccount === caller.serviceAccount &&
        (source.cluster === "*" || source.cluster === ir.cluster),
    ),
  );
}

/** Grants whose destination is the server's service account. */
export function grantsTo(ir: MeshIr, server: Account): readonly GrantIr[] {
  return indexOf(ir.grants).byDestination.get(accountKey(server.namespace, server.serviceAccount)) ?? [];
}
