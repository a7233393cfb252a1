// What a caller sees: the service ports it may call, the endpoints it may reach behind each, and the addresses it is refused.
// Called by translate. The server enforces policy whatever is seen here; this keeps configurations small and gives the 403 early.
import type { LocalEndpoint, MeshIr, ServiceIr, ServicePortIr } from "../ir/types.ts";
import { accountKey, reachableAccounts, type Account } from "./grants.ts";
import { remembered } from "./remembered.ts";

export interface VisiblePort {
  readonly service: ServiceIr;
  readonly port: ServicePortIr;
  /** Meshed pods that the caller may reach. The array is the same object as long as port and verdict are. */
  readonly local: readonly LocalEndpoint[];
}

export interface Visibility {
  readonly ports: readonly VisiblePort[];
  /** Addresses of services that exist in the mesh but not for this caller. */
  readonly refused: readonly string[];
}

/** Accounts a caller may reach: all of them in permissive mode. */
interface Reach {
  readonly permissive: boolean;
  readonly accounts: ReadonlySet<string>;
  readonly namespaces: ReadonlySet<string>;
}

function accountOf(endpoint: LocalEndpoint, namespace: string): string {
  return accountKey(namespace, endpoint.serviceAccount);
}

function meshedOf(port: ServicePortIr): readonly LocalEndpoint[] {
  return remembered(port, "meshed", () => port.local.filter((endpoint) => endpoint.meshed));
}

function accountsOf(service: ServiceIr, port: ServicePortIr): readonly string[] {
  return remembered(port, `accounts|${service.namespace}`, () =>
    [...new Set(meshedOf(port).map((endpoint) => accountOf(endpoint, service.namespace)))].sort(),
  );
}

/** Without a sidecar on any of its pods it is no service of the mesh: it is reached as if there were no mesh. */
function isOutsideMesh(service: ServiceIr, port: ServicePortIr): boolean {
  return service.scope === "cluster" && port.local.length > 0 && meshedOf(port).length === 0;
}

/** Round robin between a granted and a denied account would fail every other request (OSM #1658). */
function endpointsFor(service: ServiceIr, port: ServicePortIr, granted: readonly string[]): readonly LocalEndpoint[] {
  // nothing granted here, yet visible (an import): the local pods answer 403 themselves, with the reason
  if (granted.length === 0 || granted.length === accountsOf(service, port).length) return meshedOf(port);
  return remembered(port, `granted|${granted.join("|")}`, () =>
    meshedOf(port).filter((endpoint) => granted.includes(accountOf(endpoint, service.namespace))),
  );
}

function visiblePort(service: ServiceIr, port: ServicePortIr, reach: Reach): VisiblePort | undefined {
  if (isOutsideMesh(service, port)) return undefined;
  if (reach.permissive) return { service, port, local: meshedOf(port) };
  const accounts = accountsOf(service, port);
  const granted = accounts.filter((account) => reach.accounts.has(account));
  // scaled to zero, nobody can tell whose it is: whoever may call into the namespace gets its 503 instead of a 403
  const mayBeGranted = granted.length > 0 || (accounts.length === 0 && reach.namespaces.has(service.namespace));
  if (service.scope === "cluster" && !mayBeGranted) return undefined;
  return { service, port, local: endpointsFor(service, port, granted) };
}

export function visibleTo(ir: MeshIr, caller: Account): Visibility {
  const accounts = reachableAccounts(ir, caller);
  const namespaces = new Set([...accounts].map((account) => account.slice(0, account.indexOf("/"))));
  const reach: Reach = { permissive: ir.permissive, accounts, namespaces };
  const ports: VisiblePort[] = [];
  const refused: string[] = [];
  for (const service of ir.services) {
    const visible = service.ports.map((port) => visiblePort(service, port, reach)).filter((port) => port !== undefined);
    ports.push(...visible);
    const inMesh = service.ports.some((port) => !isOutsideMesh(service, port));
    if (visible.length === 0 && inMesh && !ir.permissive) refused.push(...service.vips);
  }
  // an address that some visible service has is not refused: two headless services may share a pod
  const reachable = new Set(ports.flatMap(({ service }) => service.vips));
  return { ports, refused: [...new Set(refused)].filter((address) => !reachable.has(address)).sort() };
}
