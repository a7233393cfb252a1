// Which grants concern an account: as a caller (where it may go) and as a server (what it enforces). The one place that says it,
// for the translation to Envoy and for `explain` alike. The index follows the list of grants: another list that shares most of
// its grants with the last costs what differs (buildGrants keeps it), and a list of one account keeps its identity meanwhile.
import { compareObjects, compareText } from "./order.ts";
import type { GrantIr, SourceIr } from "./types.ts";

export interface Account {
  readonly namespace: string;
  readonly serviceAccount: string;
}

type Index = ReadonlyMap<string, readonly GrantIr[]>;

interface GrantIndex {
  readonly bySource: Index;
  readonly byDestination: Index;
}

const indexes = new WeakMap<readonly GrantIr[], GrantIndex>();
const nobody: readonly GrantIr[] = [];

export function accountKey(namespace: string, serviceAccount: string): string {
  return `${namespace}/${serviceAccount}`;
}

function sourceKeys(grant: GrantIr): readonly string[] {
  return [...new Set(grant.sources.map((source) => accountKey(source.namespace, source.serviceAccount)))];
}

function destinationKeys(grant: GrantIr): readonly string[] {
  return [accountKey(grant.destinationNamespace, grant.destinationServiceAccount)];
}

type KeysOf = (grant: GrantIr) => readonly string[];

function freshIndex(grants: readonly GrantIr[], keysOf: KeysOf): Index {
  const index = new Map<string, GrantIr[]>();
  for (const grant of grants) {
    for (const key of keysOf(grant)) {
      const known = index.get(key);
      if (known === undefined) index.set(key, [grant]);
      else known.push(grant);
    }
  }
  return index;
}

interface Difference {
  readonly gone: readonly GrantIr[];
  readonly come: readonly GrantIr[];
}

function differenceOf(last: readonly GrantIr[], next: readonly GrantIr[]): Difference {
  const before = new Set(last);
  const after = new Set(next);
  return { gone: last.filter((grant) => !after.has(grant)), come: next.filter((grant) => !before.has(grant)) };
}

function compareOrigins(a: GrantIr, b: GrantIr): number {
  return compareObjects(a.origin, b.origin) || compareText(a.origin.kind, b.origin.kind);
}

function patchedIndex(index: Index, { gone, come }: Difference, keysOf: KeysOf): Index {
  const next = new Map(index);
  for (const grant of gone) {
    for (const key of keysOf(grant)) {
      const rest = (next.get(key) ?? nobody).filter((each) => each !== grant);
      if (rest.length === 0) next.delete(key);
      else next.set(key, rest);
    }
  }
  for (const grant of come) {
    for (const key of keysOf(grant)) next.set(key, [...(next.get(key) ?? nobody), grant].sort(compareOrigins));
  }
  return next;
}

function freshIndexes(grants: readonly GrantIr[]): GrantIndex {
  return { bySource: freshIndex(grants, sourceKeys), byDestination: freshIndex(grants, destinationKeys) };
}

/** The index of `next`, from that of `last` if there is one. Both lists are sorted by origin. */
export function followGrants(last: readonly GrantIr[] | undefined, next: readonly GrantIr[]): void {
  const known = last === undefined ? undefined : indexes.get(last);
  if (last === undefined || known === undefined || indexes.has(next)) return;
  const difference = differenceOf(last, next);
  if (difference.gone.length + difference.come.length > next.length / 4) return;
  indexes.set(next, {
    bySource: patchedIndex(known.bySource, difference, sourceKeys),
    byDestination: patchedIndex(known.byDestination, difference, destinationKeys),
  });
}

function indexOf(grants: readonly GrantIr[]): GrantIndex {
  const known = indexes.get(grants);
  if (known !== undefined) return known;
  const index = freshIndexes(grants);
  indexes.set(grants, index);
  return index;
}

/** Whether a source stands for the account in the member called `cluster`. */
export function namesAccount(source: SourceIr, account: Account, cluster: string): boolean {
  return (
    source.namespace === account.namespace &&
    source.serviceAccount === account.serviceAccount &&
    // an account of another fleet is nobody here, whatever its member is called
    source.fleet === undefined &&
    (source.cluster === "*" || source.cluster === cluster)
  );
}

export function namesCaller(grant: GrantIr, caller: Account, cluster: string): boolean {
  return grant.sources.some((source) => namesAccount(source, caller, cluster));
}

/** Grants with a source of this namespace and name in whichever member; the same list as long as none of them changed. */
export function grantsOfName(grants: readonly GrantIr[], caller: Account): readonly GrantIr[] {
  return indexOf(grants).bySource.get(accountKey(caller.namespace, caller.serviceAccount)) ?? nobody;
}

/** Grants whose destination is the server's account; the same list as long as none of them changed. */
export function grantsTo(grants: readonly GrantIr[], server: Account): readonly GrantIr[] {
  return indexOf(grants).byDestination.get(accountKey(server.namespace, server.serviceAccount)) ?? nobody;
}

/** A grant without ports is for every port. */
export function grantsPort(grant: GrantIr, port: number): boolean {
  return grant.ports.length === 0 || grant.ports.includes(port);
}

/** A grant without sources is for nobody. */
export function opensHttp(grant: GrantIr): boolean {
  return grant.sources.length > 0 && (grant.http === "any" || grant.http.length > 0);
}

/** Bytes that are no HTTP request match no HTTPRouteGroup: only a TCPRoute opens a raw TCP port. */
export function opensTcp(grant: GrantIr, port: number): boolean {
  return grant.sources.length > 0 && grant.tcp === true && grantsPort(grant, port);
}

/** A path's expression as the whole path must match it: SMI anchors at the start alone, RE2's full match at both ends. */
export function wholePathRegex(pathRegex: string): string {
  return `(?:${pathRegex}).*`;
}
