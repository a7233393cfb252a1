// Local Services: what each port is spoken as, who answers it, and which pod ports it therefore opens.
// `localServices` is read by the cluster scope here, by the fleet scope (imports.ts), by exports.ts and by workloads.ts.
import { trustDomainOf, workloadSpiffeId, type SpiffeId, type TrustDomain } from "../../shared/ids.ts";
import type { Problem } from "../../shared/result.ts";
import { endpointsOf, isAddress, joinPods, type SlicePods, type SliceWithPods } from "./endpoints.ts";
import type { MeshInputs, ServiceInput, SliceInput } from "./inputs.ts";
import { keepList, recall, sameElements, stage, topic, type Memory } from "./memo.ts";
import { compareObjects, compareText, objectKey, sortedUnique } from "./order.ts";
import { podIndexOf, podsByAddress, type PodIndex } from "./pod-index.ts";
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
  readonly slices: readonly SliceWithPods[];
  readonly problems: readonly Problem[];
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
    const pod = podsByAddress(index, endpoint.address).find((candidate) => candidate.meshed);
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

function freshService(
  service: ServiceInput,
  slices: readonly SliceWithPods[],
  problems: readonly Problem[],
  trustDomain: TrustDomain,
): LocalService {
  const ports = portsOf(service, slices, trustDomain);
  return {
    key: objectKey(service),
    service,
    ports,
    holdings: holdingsOf(service, slices),
    ir: service.importOf === "" ? clusterScope(service, ports, slices) : undefined,
    slices,
    problems,
  };
}

/** The inputs inside (service, pods) keep their own identity; only what was made of them is shared with the last value. */
function localService(
  service: ServiceInput,
  slices: readonly SliceInput[],
  context: { readonly index: PodIndex; readonly trustDomain: TrustDomain },
  last: LocalService | undefined,
): LocalService {
  const { index, trustDomain } = context;
  const joined = slices.map((slice, position) => joinPods(slice, index, last?.slices[position]));
  const problems = share(
    last?.problems,
    joined.flatMap((each) => borrowedPods(each, index)),
  );
  if (last?.service === service && last.problems === problems && sameElements(last.slices, joined)) return last;
  const next = freshService(service, joined, problems, trustDomain);
  return { ...next, ports: share(last?.ports, next.ports), ir: share(last?.ir, next.ir) };
}

/** By namespace, then Service name; slices of one Service by their own name. */
type SliceGroups = ReadonlyMap<string, ReadonlyMap<string, readonly SliceInput[]>>;

const noSlices: readonly SliceInput[] = [];
const sliceTopic = topic<SliceGroups>("slices by service");
const candidateTopic = topic<readonly (readonly [string, ServiceInput])[]>("services of the mesh");
const localTopic = topic<readonly LocalService[], LocalService>("local services");

function slicesByService(slices: readonly SliceInput[]): SliceGroups {
  const groups = new Map<string, Map<string, SliceInput[]>>();
  for (const slice of slices) {
    let services = groups.get(slice.namespace);
    if (services === undefined) groups.set(slice.namespace, (services = new Map<string, SliceInput[]>()));
    const group = services.get(slice.service);
    if (group === undefined) services.set(slice.service, [slice]);
    else group.push(slice);
  }
  for (const services of groups.values()) {
    for (const group of services.values()) if (group.length > 1) group.sort((a, b) => compareText(a.name, b.name));
  }
  return groups;
}

function candidates({ services, meshNamespaces, exports }: MeshInputs): readonly (readonly [string, ServiceInput])[] {
  const namespaces = new Set([...meshNamespaces, ...exports.map((exported) => exported.namespace)]);
  return services
    .filter((service) => service.type !== "ExternalName" && namespaces.has(service.namespace))
    .sort(compareObjects)
    .map((service) => [objectKey(service), service]);
}

/** Every Service of a mesh namespace, and those exported from elsewhere; sorted by namespace and name. */
export function localServices(memory: Memory, inputs: MeshInputs): readonly LocalService[] {
  const { services, meshNamespaces, exports, slices } = inputs;
  const trustDomain = trustDomainOf(inputs.cluster, inputs.fleetDomain);
  const index = podIndexOf(memory, inputs);
  const listed = stage(memory, candidateTopic, [services, meshNamespaces, exports], () => candidates(inputs));
  const groups = stage(memory, sliceTopic, [slices], () => slicesByService(slices));
  return stage(memory, localTopic, [listed, groups, index, trustDomain], (table, last) => {
    const next = listed.map(([key, service]) => {
      const own = groups.get(service.namespace)?.get(service.name) ?? noSlices;
      const context = { index, trustDomain };
      return recall(table, key, [trustDomain, index, service, ...own], (before) =>
        localService(service, own, context, before),
      );
    });
    return keepList(last, next);
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
