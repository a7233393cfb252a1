// What a caller sees: the service ports it may call, and the endpoints it may reach behind each. Called by translate.
// The server enforces policy whatever is seen here; this keeps configurations small and gives the 403 early.
import { accountKey } from "../ir/grants.ts";
import type { LocalEndpoint } from "../ir/types.ts";
import type { Reachable } from "./reachable.ts";
import { remembered } from "./remembered.ts";
import type { MeshView, PortView } from "./service-ports.ts";

export interface VisiblePort {
  readonly view: PortView;
  /** Pods that the caller may reach: the same array as long as the port and the verdict are. */
  readonly local: readonly LocalEndpoint[];
}

export interface Visible {
  /** What the caller may dial. */
  readonly ports: readonly VisiblePort[];
  /** What takes a share of those. One that the caller may not reach is here too: its server answers 403, for its share. */
  readonly backends: readonly VisiblePort[];
}

/** Round robin between a granted and a denied account would fail every other request (OSM #1658). */
function reachableOf(view: PortView, reachable: ReadonlySet<string>): readonly LocalEndpoint[] {
  const granted = view.accounts.filter((account) => reachable.has(account));
  // nothing granted here, yet visible (an import): the local pods answer 403 themselves, with the reason
  if (granted.length === 0 || granted.length === view.accounts.length) return view.meshed;
  const { namespace } = view.service;
  return remembered(view, `granted|${granted.join("|")}`, () =>
    view.meshed.filter((endpoint) => granted.includes(accountKey(namespace, endpoint.serviceAccount))),
  );
}

/** Pods of a port that the calls of a caller go to who may reach these accounts. */
export function chosenPods(view: PortView, reachable: ReadonlySet<string>): readonly LocalEndpoint[] {
  return view.permissive ? view.local : reachableOf(view, reachable);
}

function withBackends(ports: readonly VisiblePort[], localOf: (view: PortView) => VisiblePort["local"]): Visible {
  const backends = new Set(ports.flatMap(({ view }) => view.split?.backends ?? []));
  return { ports, backends: [...backends].map((view) => ({ view, local: localOf(view) })) };
}

/** Where everything is permissive: everything, the same for all. */
export function everythingVisible(mesh: MeshView): Visible {
  const ports = mesh.ports.map((view) => ({ view, local: view.local }));
  return withBackends(ports, (view) => view.local);
}

/** What a caller sees that may reach these accounts, and what is open to anybody. */
export function visibleByGrants(mesh: MeshView, { accounts, namespaces }: Reachable): Visible {
  const reachable = new Set(accounts);
  const seen = new Set([
    ...mesh.open,
    ...mesh.imports,
    ...accounts.flatMap((account) => mesh.byAccount.get(account) ?? []),
    // scaled to zero: whoever may call into the namespace gets the service's 503 instead of a 403
    ...namespaces.flatMap((namespace) => mesh.empty.get(namespace) ?? []),
  ]);
  const position = (view: PortView) => mesh.position.get(view) ?? 0;
  const localOf = (view: PortView) => chosenPods(view, reachable);
  const ports = [...seen].sort((a, b) => position(a) - position(b));
  return withBackends(
    ports.map((view) => ({ view, local: localOf(view) })),
    localOf,
  );
}
