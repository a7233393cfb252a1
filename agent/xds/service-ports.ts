// Service ports as this folder needs them: everything that is the same for whoever looks is made once per ServiceIr, and an index finds
// what a caller may see without walking all services for every proxy. Called by visibility and translate.
import type { ClusterName, FleetDomain } from "../../shared/ids.ts";
import { accountKey } from "../ir/grants.ts";
import { isPermissive } from "../ir/modes.ts";
import type { LocalEndpoint, MeshIr, ServiceIr, ServicePortIr } from "../ir/types.ts";
import { isHttp, upstreamCluster, type UpstreamInput } from "./clusters.ts";
import { portFilter } from "./listeners.ts";
import { addressesOf, type Addresses } from "./matcher.ts";
import { formatName } from "./names.ts";
import { plaintextHttp, unmeshedPods, type PlaintextHttp } from "./plaintext.ts";
import { latest, remembered, type LatestOf } from "./remembered.ts";
import { destinationOf, meantFor } from "./request-metrics.ts";
import type { JsonMessage } from "./resource.ts";
import { outboundRoutes, type Traffic } from "./routes.ts";
import type { Share } from "./shares.ts";
import { splitPorts, type PortSplit } from "./splits.ts";

export interface PortView {
  readonly service: ServiceIr;
  readonly port: ServicePortIr;
  /** Anybody may call it. */
  readonly permissive: boolean;
  /** Of its chain, cluster, endpoints and routes alike. */
  readonly name: string;
  readonly identitiesName: string;
  /** Pods with a sidecar; others are never called as part of the mesh. */
  readonly meshed: readonly LocalEndpoint[];
  /** `namespace/account` of those, sorted. */
  readonly accounts: readonly string[];
  /** Pods of the cluster itself: those, and for TCP in permissive mode the others too. */
  readonly local: readonly LocalEndpoint[];
  readonly plaintext: PlaintextHttp | undefined;
  /** What an application dials to get here. */
  readonly destinations: readonly { readonly addresses: readonly string[]; readonly port: number }[];
  /** The application's choice of pod is kept (headless services): no EDS. */
  readonly byAddress: boolean;
  readonly cluster: JsonMessage;
  /** Clusters of the service itself, by what is ready. */
  readonly own: readonly Share[];
  readonly split: PortSplit | undefined;
  /** Clusters that take its share of a split. */
  readonly asBackend: readonly Share[];
  /** Of a headless service: the cluster that takes its share of a split, where no application has chosen a pod. */
  readonly balanced: { readonly name: string; readonly cluster: JsonMessage } | undefined;
  /** RDS of an HTTP port. */
  readonly routes: JsonMessage | undefined;
  /** ECDS of any other. */
  readonly filter: JsonMessage | undefined;
  /** All that a listener's bytes say of this port. */
  readonly shape: string;
}

/** Nobody translates the port of a pod's own address: what is dialled is the target port. */
function podDestinations(pods: readonly LocalEndpoint[]): PortView["destinations"] {
  const byPort = Map.groupBy(pods, (pod) => pod.port);
  return [...byPort]
    .sort(([a], [b]) => a - b)
    .map(([port, group]) => ({ addresses: [...new Set(group.map((pod) => pod.address))].sort(), port }));
}

interface PortSettings {
  readonly fleet: FleetDomain;
  readonly cluster: ClusterName;
  /** Of the service's namespace. */
  readonly permissive: boolean;
}

/** Where no application has chosen a pod of a headless service, the client does. */
function balancedCluster(name: string, to: Omit<UpstreamInput, "name" | "byAddress">): PortView["balanced"] {
  return { name, cluster: upstreamCluster({ ...to, name, byAddress: false }) };
}

function portView(service: ServiceIr, port: ServicePortIr, { fleet, cluster, permissive }: PortSettings): PortView {
  const { protocol } = port;
  const parts = { scope: service.scope, namespace: service.namespace, service: service.name, port: port.port };
  const name = formatName({ kind: "outbound", ...parts });
  const identitiesName = formatName({ kind: "identities", ...parts });
  const meshed = port.local.filter((endpoint) => endpoint.meshed);
  const byAddress = service.headless && service.scope === "cluster";
  const destinations = byAddress ? podDestinations(meshed) : [{ addresses: service.vips, port: port.port }];
  const plaintext = plaintextHttp({ service, port, name, meshed, permissive });
  const own = plaintext?.shares ?? [{ cluster: name, weight: 1 }];
  const plaintextTcp = isHttp(protocol) ? [] : unmeshedPods({ service, port, permissive });
  const to = { identities: identitiesName, protocol, plaintextToo: plaintextTcp.length > 0, fleet };
  const balanced = byAddress ? balancedCluster(formatName({ kind: "balanced", ...parts }), to) : undefined;
  return {
    service,
    port,
    permissive,
    name,
    identitiesName,
    meshed,
    accounts: [...new Set(meshed.map((endpoint) => accountKey(service.namespace, endpoint.serviceAccount)))].sort(),
    local: [...meshed, ...plaintextTcp],
    plaintext,
    destinations,
    byAddress,
    cluster: upstreamCluster({ ...to, name, byAddress }),
    own,
    split: undefined,
    asBackend: balanced === undefined ? own : [{ cluster: balanced.name, weight: 1 }],
    balanced,
    ...calls({ service, port, name }, { own }, cluster),
    shape: JSON.stringify([name, protocol, destinations]),
  };
}

type Calls = Pick<PortView, "routes" | "filter">;

type Called = Pick<PortView, "service" | "port" | "name">;

/** `cluster`: whose services those of scope "cluster" are, for what is counted. */
function calls(called: Called, traffic: Traffic, cluster: ClusterName, ownDomains: readonly string[] = []): Calls {
  const { name, port, service } = called;
  if (isHttp(port.protocol)) {
    const routes = meantFor(outboundRoutes(name, traffic, ownDomains), destinationOf(service, cluster));
    return { routes, filter: undefined };
  }
  const shares = traffic.split?.matches === "all" ? traffic.split.shares : traffic.own;
  return { routes: undefined, filter: portFilter(name, shares) };
}

/** Names of single pods of a headless service, with and without the dot that ends a full name. */
function podDomains({ name, hostnames }: ServiceIr): readonly string[] {
  return [name, ...hostnames].flatMap((host) => [`*.${host}`, `*.${host}.`]);
}

const splitViews: LatestOf<PortView> = new WeakMap();

/** Chain and clusters stay as they are: only where calls go is another. */
function splitView(view: PortView, split: PortSplit | undefined, cluster: ClusterName): PortView {
  if (split === undefined) return view;
  return latest(splitViews, view, [split, cluster], () => {
    const { own, byAddress, service } = view;
    const ownDomains = byAddress ? podDomains(service) : [];
    return { ...view, split, ...calls(view, { own, split }, cluster, ownDomains) };
  });
}

/**
 * A port as a bound sidecar calls it: nothing is redirected to it, so no address that the application chose tells the pod, and a headless
 * service is balanced like any other.
 */
export function calledByName(view: PortView, fleet: FleetDomain): PortView {
  if (!view.byAddress) return view;
  return remembered(view, `by name|${fleet}`, () => {
    const { name, identitiesName: identities, port } = view;
    const cluster = upstreamCluster({
      ...{ name, identities, fleet, protocol: port.protocol },
      byAddress: false,
      plaintextToo: false,
    });
    return { ...view, byAddress: false, cluster };
  });
}

/** Without a sidecar on any of its pods it is no service of the mesh: it is reached as if there were no mesh, unless it is split. */
function isOutsideMesh({ service, port, meshed, split }: PortView): boolean {
  return split === undefined && service.scope === "cluster" && port.local.length > 0 && meshed.length === 0;
}

export interface MeshView {
  /** Ports of services that are in the mesh, in the IR's order. */
  readonly ports: readonly PortView[];
  readonly position: ReadonlyMap<PortView, number>;
  /** By the accounts of their pods, and of those that take a share of their calls. */
  readonly byAccount: ReadonlyMap<string, readonly PortView[]>;
  /** Ports without pods, by namespace: whose they are, nobody can tell. */
  readonly empty: ReadonlyMap<string, readonly PortView[]>;
  /** Imports, and what is split among some: visible to all, since only their members know who may call. */
  readonly imports: readonly PortView[];
  /** Ports that anybody may call, for their namespace is permissive. */
  readonly open: readonly PortView[];
  /** Every address of a service that not everybody may call, sorted. */
  readonly addresses: Addresses;
}

function add(index: Map<string, PortView[]>, key: string, view: PortView): void {
  const known = index.get(key);
  if (known === undefined) index.set(key, [view]);
  else known.push(view);
}

function buildView(ir: MeshIr): MeshView {
  const { fleetDomain: fleet, cluster } = ir;
  const plain = ir.services.flatMap((service) => {
    const permissive = isPermissive(ir, service.namespace);
    const make = () => service.ports.map((port) => portView(service, port, { fleet, cluster, permissive }));
    return remembered(service, `views|${fleet}|${cluster}|${permissive}`, make);
  });
  const splits = splitPorts(ir.splits, plain);
  const ports = plain.map((view) => splitView(view, splits.get(view), cluster)).filter((view) => !isOutsideMesh(view));
  const byAccount = new Map<string, PortView[]>();
  const empty = new Map<string, PortView[]>();
  for (const view of ports) {
    const behind = [view, ...(view.split?.backends ?? [])].flatMap(({ accounts }) => accounts);
    for (const account of new Set(behind)) add(byAccount, account, view);
    if (view.accounts.length === 0) add(empty, view.service.namespace, view);
  }
  return {
    ports,
    position: new Map(ports.map((view, index) => [view, index])),
    byAccount,
    empty,
    imports: ports.filter((view) =>
      [view, ...(view.split?.backends ?? [])].some(({ service }) => service.scope === "fleet"),
    ),
    open: ports.filter(({ permissive }) => permissive),
    addresses: addressesOf(
      [...new Set(ports.flatMap(({ service, permissive }) => (permissive ? [] : service.vips)))].sort(),
    ),
  };
}

const meshViews: LatestOf<MeshView> = new WeakMap();

/** Once per set of services, splits and modes, however many proxies ask. */
export function meshView(ir: MeshIr): MeshView {
  const { fleetDomain, cluster, permissive, modeExceptions = [], services, splits } = ir;
  const needs = [splits, fleetDomain, cluster, permissive, modeExceptions.join(",")];
  return latest(meshViews, services, needs, () => buildView(ir));
}
