// A site as the mesh sees it: the same inputs that a Kubernetes cluster gives, made of manifests, of what was allocated and
// of how the workloads are. Pure; what means the same keeps its identity.
import type { GatewayAddress } from "../../shared/registry.ts";
import type { Problem } from "../../shared/result.ts";
import type {
  BoundInput,
  ExportInput,
  NamespaceEgressInput,
  NamespaceModeInput,
  PodInput,
  ServiceInput,
} from "../ir/inputs.ts";
import { share, shareList } from "../ir/sharing.ts";
import type { PlatformInputs } from "../platform.ts";
import type { Allocations } from "./allocations.ts";
import { addressText, blockStart, rangeText, type LoopbackRange } from "./loopback-range.ts";
import type { RecordLists } from "./site-objects.ts";
import { undeclaredServices, workloadSlices, type PlacedWorkload } from "./workload-slices.ts";
import type { WorkloadManifest } from "./workload.ts";

export interface Machine {
  readonly range: LoopbackRange | undefined;
  readonly gatewayBind: GatewayAddress;
  /** Lowest port that the workload's user may bind. */
  readonly lowestPort: (workload: WorkloadManifest) => number;
}

export interface SiteState {
  readonly records: RecordLists;
  /** Services that the agent made for imports. */
  readonly derived: readonly ServiceInput[];
  readonly allocations: Allocations;
  readonly isReady: (workload: WorkloadManifest) => boolean;
  /** When an export was first seen; its manifest may say otherwise. */
  readonly exportedAtMs: Readonly<Record<string, number>>;
}

export interface SiteInputs {
  readonly inputs: PlatformInputs;
  readonly problems: readonly Problem[];
}

const HTTP_PROXY_PORT = 15_001;
/** Of the listener that an application's connections are redirected to. */
const OUTBOUND_PORT = 15_002;

export function objectKey({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${namespace}/${name}`;
}

/** Every Service of the site, those included that only workloads name. */
export function siteServices(records: RecordLists, derived: readonly ServiceInput[]): readonly ServiceInput[] {
  const declared = records.Service;
  return [...declared, ...undeclaredServices(records.Workload, declared), ...derived];
}

export function siteInputs(state: SiteState, machine: Machine, last: PlatformInputs | undefined): SiteInputs {
  const { records, derived, allocations } = state;
  const services = siteServices(records, derived).map((service) => addressed(service, allocations, machine.range));
  const placed = records.Workload.map((workload) => placeWorkload(workload, state, machine));
  const slices = [...records.EndpointSlice, ...workloadSlices(services, placed.flatMap(reachable))];
  const names = namespacesOf(records);
  const inputs: PlatformInputs = {
    meshNamespaces: share(last?.meshNamespaces, names),
    namespaces: share(last?.namespaces, names),
    namespaceModes: share(last?.namespaceModes, modesOf(records)),
    namespaceEgress: share(last?.namespaceEgress, egressOf(records)),
    services: shareList(last?.services, services, objectKey),
    slices: shareList(last?.slices, slices, objectKey),
    pods: shareList(
      last?.pods,
      placed.flatMap((each) => each.pod ?? []),
      objectKey,
    ),
    exports: shareList(
      last?.exports,
      records.ServiceExport.map((each) => dated(each, state)),
      objectKey,
    ),
    trafficTargets: records.TrafficTarget,
    httpRouteGroups: records.HTTPRouteGroup,
    tcpRoutes: records.TCPRoute,
    udpRoutes: records.UDPRoute,
    meshConfigs: records.MeshConfig,
    trafficSplits: records.TrafficSplit,
    gatewayBind: machine.gatewayBind,
  };
  return { inputs, problems: [...placed.flatMap((each) => each.problem ?? []), ...withoutAddress(services, machine)] };
}

/** Every namespace that is named anywhere is of the mesh: there is nobody here to opt in or out. */
function namespacesOf(records: RecordLists): readonly string[] {
  const named = Object.values(records).flatMap((list) => list.map(({ namespace }) => namespace));
  const declared = records.Namespace.map(({ name }) => name);
  return [...new Set([...named, ...declared])].filter((name) => name !== "").sort();
}

function modesOf({ Namespace }: RecordLists): readonly NamespaceModeInput[] {
  return Namespace.flatMap(({ name, permissive }) =>
    permissive === undefined ? [] : [{ namespace: name, permissive }],
  );
}

function egressOf({ Namespace }: RecordLists): readonly NamespaceEgressInput[] {
  return Namespace.flatMap(({ name, egress }) => (egress === undefined ? [] : [{ namespace: name, egress }]));
}

/** No kube-proxy answers at an address that a manifest names, so every Service gets the one that sidecars bind. */
function addressed(service: ServiceInput, { services }: Allocations, range: LoopbackRange | undefined): ServiceInput {
  const offset = services[objectKey(service)];
  if (service.type !== "ClusterIP" || range === undefined || offset === undefined)
    return { ...service, clusterIps: [] };
  return { ...service, clusterIps: [addressText(range.first + offset)] };
}

function withoutAddress(services: readonly ServiceInput[], { range }: Machine): readonly Problem[] {
  if (range === undefined) return [];
  return services
    .filter(({ type, clusterIps }) => type === "ClusterIP" && clusterIps.length === 0)
    .map(({ namespace, name }) => ({
      code: "ISTHMUS_ADDRESSES_FULL",
      message: "it gets no loopback address, for a block has no more: it is reached through the HTTP proxy only",
      object: { kind: "Service", namespace, name },
    }));
}

function dated(exported: ExportInput, { exportedAtMs }: SiteState): ExportInput {
  if (exported.createdAtMs !== 0) return exported;
  return { ...exported, createdAtMs: exportedAtMs[objectKey(exported)] ?? 0 };
}

interface Placed {
  readonly pod?: PodInput;
  readonly workload?: PlacedWorkload;
  readonly problem?: Problem;
}

function reachable({ workload }: Placed): readonly PlacedWorkload[] {
  return workload === undefined ? [] : [workload];
}

function placeWorkload(workload: WorkloadManifest, state: SiteState, machine: Machine): Placed {
  const { namespace, name } = workload;
  const bound = boundOf(workload, state.allocations, machine);
  const [address] = bound?.inboundAddresses ?? [];
  if (bound === undefined || address === undefined) return { problem: unplaced(workload, machine) };
  const ready = state.isReady(workload);
  const pod: PodInput = {
    namespace,
    name,
    uid: workloadUid(workload),
    ip: address,
    serviceAccount: workload.serviceAccount,
    labels: workload.labels,
    ports: workload.ports.filter((port) => port.name !== "").map((port) => ({ name: port.name, port: port.port })),
    meshed: true,
    workloadKind: "Workload",
    workloadName: name,
    ready,
    terminating: false,
    bound: ready ? bound : { ...bound, unready: true },
  };
  const lost = workload.redirect && bound.redirect === undefined;
  return { pod, workload: { workload, address, ready }, ...(lost ? { problem: unredirected(workload) } : {}) };
}

export function workloadUid({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `site/${namespace}/${name}`;
}

function unplaced({ namespace, name }: WorkloadManifest, { range }: Machine): Problem {
  const object = { kind: "Workload", namespace, name };
  if (range === undefined) {
    const message = "needs addresses: without a loopback range no address of its own can be chosen for it";
    return { code: "ISTHMUS_WORKLOAD_ADDRESS", message, object, field: "spec" };
  }
  const message = "gets no loopback addresses, for the range has no block left: choose a larger --loopback-range";
  return { code: "ISTHMUS_ADDRESSES_FULL", message, object };
}

function unredirected({ namespace, name }: WorkloadManifest): Problem {
  const message = "has no effect: without a loopback range there is no address to redirect to";
  return {
    code: "ISTHMUS_WORKLOAD_ADDRESS",
    message,
    object: { kind: "Workload", namespace, name },
    field: "spec.redirect",
  };
}

/** Undefined while it has no addresses. */
function boundOf(workload: WorkloadManifest, allocations: Allocations, machine: Machine): BoundInput | undefined {
  const own = ownAddresses(objectKey(workload), allocations, machine.range);
  const inboundAddresses = workload.addresses.length > 0 ? workload.addresses : (own?.inbound ?? []);
  if (own === undefined || inboundAddresses.length === 0) return undefined;
  return {
    applications: workload.ports.map(({ port, application }) => ({
      port,
      address: application.address,
      applicationPort: application.port,
    })),
    inboundAddresses,
    httpProxy: own.httpProxy,
    loopback: own.loopback,
    lowestPort: machine.lowestPort(workload),
    ...(workload.redirect ? redirectOf(own, machine.range) : {}),
  };
}

function redirectOf({ httpProxy }: OwnAddresses, range: LoopbackRange | undefined): Pick<BoundInput, "redirect"> {
  if (range === undefined) return {};
  return { redirect: { address: httpProxy.address, port: OUTBOUND_PORT, range: rangeText(range) } };
}

interface OwnAddresses extends Pick<BoundInput, "httpProxy" | "loopback"> {
  readonly inbound: readonly string[];
}

function ownAddresses(
  key: string,
  allocations: Allocations,
  range: LoopbackRange | undefined,
): OwnAddresses | undefined {
  if (range === undefined) {
    const port = allocations.proxyPorts[key];
    if (port === undefined) return undefined;
    return { inbound: [], httpProxy: { address: "127.0.0.1", port }, loopback: { rangeStart: "", blockStart: "" } };
  }
  const block = allocations.workloads[key];
  if (block === undefined) return undefined;
  const start = addressText(blockStart(range, block));
  const loopback = { rangeStart: addressText(range.first), blockStart: start };
  return { inbound: [start], httpProxy: { address: start, port: HTTP_PROXY_PORT }, loopback };
}
