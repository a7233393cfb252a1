// Local Services: what each port is spoken as, who answers it, and which pod ports it therefore opens.
// `localServices` is read by the cluster scope here, by the fleet scope (imports.ts), by exports.ts and by workloads.ts.
import { trustDomainOf, workloadSpiffeId, type SpiffeId, type TrustDomain } from "../../shared/ids.ts";
import type { Problem } from "../../shared/result.ts";
import { endpointsOf, isAddress, podsOfSlice, slicePods, type SlicePods, type SliceWithPods } from "./endpoints.ts";
import type { MeshInputs, ServiceInput, SliceInput } from "./inputs.ts";
import { remember, tableOf, topic, type Memory, type Table } from "./memo.ts";
import { compareObjects, compareText, groupBy, objectKey, sortedUnique } from "./order.ts";
import { podIndexOf, type PodIndex } from "./pod-index.ts";
import { declaredProtocol, protocolFamily, protocolOf } from "./protocols.ts";
import { share } from "./sharing.ts";
import type { AppProtocol, LocalEndpoint, ServiceIr } from "./types.ts";

export interface LocalPort {
  readonly name: string;
  readonly port: number;
  /** As published to other members. */
  readonly appProtocol: string;
  readonly protocol: AppProtocol;
  readonly endpoints: readonly LocalEndpoint[];
  readonly identities: readonly SpiffeId[];
}

/** Pod ports that a Service opens on the pods of one slice. */
export interface Holding {
  readonly service: ServiceInput;
  readonly ports: readonly { readonly port: number; readonly protocol: AppProtocol }[];
  readonly pods: SlicePods;
}

export interface LocalService {
  readonly key: string;
  readonly service: ServiceInput;
  /** TCP ports, by number: Envoy carries no other. */
  readonly ports: readonly LocalPort[];
  readonly holdings: readonly Holding[];
  /** Cluster scope; absent for the Services that the agent itself made for imports. */
  readonly ir: ServiceIr | undefined;
}

/** Who may answer: the accounts of meshed endpoints, ready or not, so that a readiness flap does not touch client TLS contexts. */
function identitiesOf(
  endpoints: readonly LocalEndpoint[],
  namespace: string,
  trustDomain: TrustDomain,
): readonly SpiffeId[] {
  const accounts = endpoints.filter((endpoint) => endpoint.meshed).map((endpoint) => endpoint.serviceAccount);
  return sortedUnique(accounts).map((serviceAccount) => workloadSpiffeId({ trustDomain, namespace, serviceAccount }));
}

function portsOf(
  service: ServiceInput,
  slices: readonly SliceWithPods[],
  trustDomain: TrustDomain,
): readonly LocalPort[] {
  return service.ports
    .filter((port) => port.protocol === "TCP")
    .map((port) => {
      const endpoints = endpointsOf(port.name, slices);
      return {
        name: port.name,
        port: port.port,
        appProtocol: declaredProtocol(port),
        protocol: protocolOf(port),
        endpoints,
        identities: identitiesOf(endpoints, service.namespace, trustDomain),
      };
    })
    .sort((a, b) => a.port - b.port);
}

function holdingsOf(service: ServiceInput, slices: readonly SliceWithPods[]): readonly Holding[] {
  const protocols = new Map(
    service.ports.filter((port) => port.protocol === "TCP").map((port) => [port.name, protocolOf(port)]),
  );
  return slices.map(({ slice, pods }) => {
    const ports = slice.ports.flatMap(({ name, port }) => {
      const protocol = protocols.get(name);
      return protocol === undefined ? [] : [{ port, protocol }];
    });
    return { service, ports, pods };
  });
}

function hostnamesOf(service: ServiceInput): readonly string[] {
  const name = `${service.name}.${service.namespace}`;
  return [name, `${name}.svc`, `${name}.svc.cluster`, `${name}.svc.cluster.local`];
}

/** An application that looks up a headless service connects to an endpoint's own address. */
function vipsOf(service: ServiceInput, slices: readonly SliceWithPods[]): readonly string[] {
  if (service.type !== "Headless") return sortedUnique(service.clusterIps);
  const addresses = slices.flatMap(({ slice }) => slice.endpoints.map((endpoint) => endpoint.address));
  return sortedUnique(addresses.filter(isAddress));
}

function clusterScope(service: ServiceInput, ports: readonly LocalPort[], slices: readonly SliceWithPods[]): ServiceIr {
  const { namespace, name } = service;
  return {
    key: `cluster/${namespace}/${name}`,
    scope: "cluster",
    namespace,
    name,
    vips: vipsOf(service, slices),
    hostnames: hostnamesOf(service),
    headless: service.type === "Headless",
    ports: ports.map(({ name: portName, port, protocol, endpoints, identities }) => {
      return { name: portName, port, protocol, local: endpoints, remote: [], identities };
    }),
    origin: { kind: "Service", namespace, name },
  };
}

/** Slices written by hand may name a meshed pod of another namespace: it stays a foreign address, and the author is told. */
function borrowedPods({ slice, pods }: SliceWithPods, index: PodIndex): readonly Problem[] {
  if (!pods.includes(undefined)) return [];
  return slice.endpoints.flatMap((endpoint, position) => {
    if (pods[position] !== undefined || endpoint.podName !== "") return [];
    const pod = index.byAddress.get(endpoint.address)?.find((candidate) => candidate.meshed);
    if (pod === undefined) return [];
    return [
      {
        code: "ISTHMUS_ENDPOINT_NAMESPACE",
        message: `${endpoint.address} is pod ${pod.namespace}/${pod.name}: a slice cannot lend a pod of another namespace to its service, so it is called as an address without identity`,
        object: { kind: "EndpointSlice", namespace: slice.namespace, name: slice.name },
        field: `endpoints[${position}]`,
      },
    ];
  });
}

/** The inputs inside (service, pods) keep their own identity; only what was made of them is shared with the last value. */
function shareService(last: LocalService | undefined, next: LocalService): LocalService {
  return last === undefined ? next : { ...next, ports: share(last.ports, next.ports), ir: share(last.ir, next.ir) };
}

function localService(service: ServiceInput, slices: readonly SliceWithPods[], trustDomain: TrustDomain): LocalService {
  const ports = portsOf(service, slices, trustDomain);
  return {
    key: objectKey(service),
    service,
    ports,
    holdings: holdingsOf(service, slices),
    ir: service.importOf === "" ? clusterScope(service, ports, slices) : undefined,
  };
}

type SliceGroups = ReadonlyMap<string, readonly SliceInput[]>;

const sliceGroups = topic<SliceGroups>("slices by service");
const foreignTopic = topic<readonly Problem[]>("borrowed pods");
const localServiceTopic = topic<LocalService>("local service");
const noSlices: readonly SliceInput[] = [];

function slicesByService(slices: readonly SliceInput[]): SliceGroups {
  const grouped = groupBy(slices, (slice) => `${slice.namespace}/${slice.service}`);
  for (const group of grouped.values()) if (group.length > 1) group.sort((a, b) => compareText(a.name, b.name));
  return grouped;
}

function joined(table: Table<SlicePods>, slices: readonly SliceInput[], index: PodIndex): readonly SliceWithPods[] {
  return slices.map((slice) => ({ slice, pods: podsOfSlice(table, slice, index) }));
}

/** Every Service of a mesh namespace, and those exported from elsewhere; sorted by namespace and name. */
export function localServices(memory: Memory, inputs: MeshInputs): readonly LocalService[] {
  const trustDomain = trustDomainOf(inputs.cluster, inputs.fleetDomain);
  const index = podIndexOf(memory, inputs);
  const slices = remember(tableOf(memory, sliceGroups), inputs.slices, [], () => slicesByService(inputs.slices));
  const pods = tableOf(memory, slicePods);
  const table = tableOf(memory, localServiceTopic);
  const namespaces = new Set([...inputs.meshNamespaces, ...inputs.exports.map((exported) => exported.namespace)]);
  return inputs.services
    .filter((service) => service.type !== "ExternalName" && namespaces.has(service.namespace))
    .sort(compareObjects)
    .map((service) => {
      const key = objectKey(service);
      const own = joined(pods, slices.get(key) ?? noSlices, index);
      const needs = [trustDomain, service, ...own.flatMap(({ slice, pods }) => [slice, pods])];
      return remember(table, key, needs, (last) => shareService(last, localService(service, own, trustDomain)));
    });
}

/** Of services here only: a slice without a Service reaches nobody. */
export function checkSlices(memory: Memory, inputs: MeshInputs): readonly Problem[] {
  const index = podIndexOf(memory, inputs);
  const table = tableOf(memory, slicePods);
  const foreign = tableOf(memory, foreignTopic);
  return inputs.slices.flatMap((slice) => {
    const pods = table.now.get(slice)?.value;
    if (pods === undefined) return [];
    return remember(foreign, slice, [pods, index], () => borrowedPods({ slice, pods }, index));
  });
}

/** A port number that is server-first anywhere has no inspectors, so HTTP cannot be told from other bytes on it (envoy-facts 8). */
export function checkServerFirst(services: readonly ServiceIr[]): readonly Problem[] {
  const serverFirst = new Map<number, ServiceIr>();
  for (const service of services) {
    for (const port of service.ports) {
      if (port.protocol === "tcp-server-first" && !serverFirst.has(port.port)) serverFirst.set(port.port, service);
    }
  }
  if (serverFirst.size === 0) return [];
  return services.flatMap((service) =>
    service.ports.flatMap((port) => {
      const other = serverFirst.get(port.port);
      if (other === undefined || protocolFamily(port.protocol) === "tcp") return [];
      return [
        {
          code: "ISTHMUS_SERVER_FIRST_PORT",
          message: `port ${port.port} is server-first on ${other.namespace}/${other.name}: callers of both cannot be answered 403 here, a refused request is closed; give one of them another port`,
          object: service.origin,
          field: `spec.ports[${port.name === "" ? port.port : port.name}]`,
        },
      ];
    }),
  );
}
