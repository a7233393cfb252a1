// Services of the fleet (`clusterset.local`) as a client here sees them: who answers, in which order, under which
// identities; and which ServiceImports should exist. Called by build.ts and by the ServiceImport writer.
import { trustDomainOf, workloadSpiffeId, type SpiffeId } from "../../shared/ids.ts";
import type { ExportedPort, GatewayAddress, PortCapacity } from "../../shared/registry.ts";
import type { Problem } from "../../shared/result.ts";
import { localityPriorities } from "../failover/priority.ts";
import { fleetUnions, servesPort, type Constituent, type FleetUnion } from "./fleet-union.ts";
import type { MeshInputs } from "./inputs.ts";
import { keepList, memoryAfter, recall, stage, topic, type Memory } from "./memo.ts";
import { compareText, sortedUnique } from "./order.ts";
import { protocolFamily, protocolOf } from "./protocols.ts";
import { localServices, type LocalPort, type LocalService } from "./services.ts";
import { MAX_SNI_LENGTH, sniFits, sniName, type SniParts } from "./sni.ts";
import { share } from "./sharing.ts";
import type { LocalEndpoint, Origin, RemoteBackend, ServiceImportIr, ServiceIr, ServicePortIr } from "./types.ts";

type Caller = Pick<MeshInputs, "cluster" | "fleetDomain">;

interface FleetService {
  readonly ir: ServiceIr;
  readonly problems: readonly Problem[];
}

function compareAddresses(a: GatewayAddress, b: GatewayAddress): number {
  return compareText(a.host, b.host) || a.port - b.port;
}

function sniParts(caller: Caller, union: FleetUnion, port: ExportedPort, constituent: Constituent): SniParts {
  const { namespace, name: service } = union;
  const { cluster, fleetDomain } = caller;
  return { port: port.port, service, namespace, caller: cluster, callee: constituent.cluster, fleetDomain };
}

interface Backend extends RemoteBackend {
  /** All its ready endpoints answer with errors. */
  readonly fails: boolean;
}

function offeredBy(capacity: PortCapacity | undefined): Pick<Backend, "ready" | "total" | "fails"> {
  const { ready, total, failing = 0 } = capacity ?? { ready: 0, total: 0 };
  return { ready, total, fails: failing > 0 && failing === ready };
}

/** A member without a reachable gateway offers nothing to send to, however many pods it has. */
function remoteBackends(
  caller: Caller,
  union: FleetUnion,
  port: ExportedPort,
  own: LocalPort | undefined,
): readonly Backend[] {
  const priority = localityPriorities(own !== undefined).remote;
  return union.constituents
    .flatMap((constituent): Backend[] => {
      const { cluster, record, capacity, gateway, local } = constituent;
      const sni = sniParts(caller, union, port, constituent);
      if (local !== undefined || gateway === undefined || gateway.addresses.length === 0) return [];
      if (!servesPort(record, port) || !sniFits(sni)) return [];
      const known = capacity?.ports.find((offered) => offered.port === port.port);
      return [
        {
          cluster,
          gateways: [...gateway.addresses].sort(compareAddresses),
          sni: sniName(sni),
          ...offeredBy(known),
          priority,
          region: gateway.region,
          zone: gateway.zone,
        },
      ];
    })
    .sort((a, b) => compareText(a.cluster, b.cluster));
}

interface Sources {
  readonly local: readonly LocalEndpoint[];
  readonly remote: readonly Backend[];
}

/** A member whose ready endpoints all answer with errors is left, as one without any, while another is well. */
function withoutFailing({ local, remote }: Sources): Pick<ServicePortIr, "local" | "remote"> {
  const localFails = local.length > 0 && local.every(({ ready, failing }) => !ready || failing === true);
  const isWell = (backend: Backend) => backend.ready > 0 && !backend.fails;
  const anyIsWell = (local.length > 0 && !localFails) || remote.some(isWell);
  return {
    local: anyIsWell && localFails ? local.map((endpoint) => ({ ...endpoint, ready: false })) : local,
    remote: remote.map(({ fails, ...backend }) => (anyIsWell && fails ? { ...backend, ready: 0 } : backend)),
  };
}

/** Exact IDs of every member that answers the port; each is vouched for by its own member's name-constrained CA. */
function identitiesOf(
  caller: Caller,
  union: FleetUnion,
  port: ExportedPort,
  own: LocalPort | undefined,
): readonly SpiffeId[] {
  const remote = union.constituents
    .filter(({ local, record }) => local === undefined && servesPort(record, port))
    .flatMap(({ cluster, record }) => {
      const trustDomain = trustDomainOf(cluster, caller.fleetDomain);
      return record.serviceAccounts.map((serviceAccount) =>
        workloadSpiffeId({ trustDomain, namespace: union.namespace, serviceAccount }),
      );
    });
  return sortedUnique([...remote, ...(own?.identities ?? [])]) as SpiffeId[];
}

function localPort(union: FleetUnion, port: ExportedPort): LocalPort | undefined {
  const local = union.constituents.find((constituent) => constituent.local !== undefined)?.local;
  const own = local?.ports.find((candidate) => candidate.port === port.port);
  return own !== undefined && protocolFamily(own.protocol) === protocolFamily(protocolOf(port)) ? own : undefined;
}

function fleetPort(caller: Caller, union: FleetUnion, port: ExportedPort): ServicePortIr {
  const own = localPort(union, port);
  return {
    name: port.name,
    port: port.port,
    protocol: protocolOf(port),
    ...withoutFailing({ local: own?.endpoints ?? [], remote: remoteBackends(caller, union, port, own) }),
    identities: identitiesOf(caller, union, port, own),
  };
}

function longNames(caller: Caller, union: FleetUnion, origin: Origin): readonly Problem[] {
  return union.ports.flatMap((port) =>
    union.constituents
      .filter((constituent) => constituent.local === undefined && !sniFits(sniParts(caller, union, port, constituent)))
      .map(({ cluster }) => ({
        code: "ISTHMUS_SNI_LENGTH",
        message: `port ${port.port} cannot be reached in ${cluster}: its SNI name would pass ${MAX_SNI_LENGTH} characters; choose a shorter service or namespace name`,
        object: origin,
        field: "metadata.name",
      })),
  );
}

/** Service names are DNS labels; the VIP's Service carries a prefix, and CoreDNS rewrites names without a table. */
export function derivedServiceName(service: string): string {
  return `isthmus-${service}`;
}

const MAX_SERVICE_NAME = 63;

function longService(union: FleetUnion, origin: Origin): readonly Problem[] {
  if (derivedServiceName(union.name).length <= MAX_SERVICE_NAME) return [];
  const longest = MAX_SERVICE_NAME - derivedServiceName("").length;
  const message = `the import gets no address: names of exported services may have ${longest} characters at most`;
  return [{ code: "ISTHMUS_IMPORT_NAME", message, object: origin, field: "metadata.name" }];
}

function fleetService(caller: Caller, union: FleetUnion): FleetService {
  const { namespace, name } = union;
  const origin = { kind: "ServiceImport", namespace, name };
  const ir: ServiceIr = {
    key: `fleet/${namespace}/${name}`,
    scope: "fleet",
    namespace,
    name,
    vips: sortedUnique(union.derived?.clusterIps ?? []),
    hostnames: [`${name}.${namespace}.svc.clusterset.local`],
    headless: union.type === "Headless",
    ports: union.ports.filter((port) => port.protocol === "TCP").map((port) => fleetPort(caller, union, port)),
    origin,
  };
  return { ir, problems: [...longService(union, origin), ...longNames(caller, union, origin)] };
}

/** An import appears in every namespace of ours that has the name, exporters included; elsewhere nobody could call it. */
function importedUnions(memory: Memory, inputs: MeshInputs, services: readonly LocalService[]): readonly FleetUnion[] {
  const namespaces = inputs.namespaces ?? inputs.meshNamespaces;
  const unions = fleetUnions(memory, inputs, services);
  return stage(memory, importedTopic, [unions, namespaces], (_, last) => {
    const known = new Set(namespaces);
    return keepList(
      last,
      unions.filter((union) => known.has(union.namespace)),
    );
  });
}

const importedTopic = topic<readonly FleetUnion[]>("imported unions");
const fleetServiceTopic = topic<readonly FleetService[], FleetService>("fleet services");

export function fleetServices(
  memory: Memory,
  inputs: MeshInputs,
  services: readonly LocalService[],
): { readonly services: readonly ServiceIr[]; readonly problems: readonly Problem[] } {
  const { cluster, fleetDomain } = inputs;
  const unions = importedUnions(memory, inputs, services);
  const built = stage(memory, fleetServiceTopic, [cluster, fleetDomain, unions], (table, last) => {
    const next = unions.map((union) =>
      recall(table, union.key, [cluster, fleetDomain, union], (before) => share(before, fleetService(inputs, union))),
    );
    return keepList(last, next);
  });
  return { services: built.map(({ ir }) => ir), problems: built.flatMap(({ problems }) => problems) };
}

/** A Service with several ports needs a name for each; exporters may disagree on having one. */
function namedPorts(ports: readonly ExportedPort[]): readonly ExportedPort[] {
  return ports.length < 2 ? ports : ports.map((port) => (port.name === "" ? { ...port, name: `p${port.port}` } : port));
}

/** The ServiceImports that should exist. */
export function selectImports(inputs: MeshInputs): readonly ServiceImportIr[] {
  const memory = memoryAfter(inputs);
  return importedUnions(memory, inputs, localServices(memory, inputs)).map(
    ({ namespace, name, type, ports, derived, constituents }) => ({
      namespace,
      name,
      type,
      ports: namedPorts(ports),
      ips: type === "Headless" ? [] : sortedUnique(derived?.clusterIps ?? []),
      clusters: sortedUnique(constituents.map(({ cluster }) => cluster)),
    }),
  );
}
