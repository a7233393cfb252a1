// A golden case's in.yaml: the IR in short form (what is plain is left out) and the proxy it is translated for.
// Read by the golden tests and by the tests on real Envoys; never by what ships.
import { parse } from "yaml";
import {
  trustDomainOf,
  workloadSpiffeId,
  type ClusterName,
  type FleetDomain,
  type SpiffeId,
} from "../../../shared/ids.ts";
import { parseForeignSource } from "../../ir/foreign-fleets.ts";
import { sniName } from "../../ir/sni.ts";
import type {
  AppProtocol,
  ExportPortIr,
  GrantIr,
  HttpMatchIr,
  LocalEndpoint,
  MeshIr,
  PeerIr,
  RemoteBackend,
  ServiceIr,
  ServicePortIr,
  SourceIr,
  SplitIr,
} from "../../ir/types.ts";
import type { ProxyClass } from "../proxy.ts";
import { defaultSettings, type TranslateSettings } from "../translate.ts";

export const fleetDomain = "acme.mesh" as FleetDomain;

interface CasePort {
  port: number;
  protocol?: AppProtocol;
  local?: Partial<LocalEndpoint>[];
  remote?: (Partial<RemoteBackend> & { cluster: string })[];
  /** `cluster/namespace/account`; default: those of the local endpoints. */
  identities?: string[];
}

interface CaseService {
  scope?: "cluster" | "fleet";
  namespace?: string;
  name: string;
  vips?: string[];
  headless?: boolean;
  ports: CasePort[];
}

interface CaseGrant {
  name: string;
  /** `cluster/namespace/account`; cluster may be `*`, or a trust domain of another fleet (`east.beta.mesh`, `*.beta.mesh`). */
  from: string[];
  /** `namespace/account`. */
  to: string;
  ports?: number[];
  tcp?: true;
  http?: "any" | Partial<HttpMatchIr>[];
}

/** Keys of services: `cluster/shop/cart`. */
interface CaseSplit {
  root: string;
  matches?: Partial<HttpMatchIr>[];
  ports: { port: number; backends: Record<string, number> }[];
}

interface CaseInput {
  about: string;
  proxy: ProxyClass;
  settings?: Partial<TranslateSettings>;
  cluster?: string;
  permissive?: boolean;
  modeExceptions?: readonly string[];
  egress?: { on: boolean; exceptions: string[] };
  services?: CaseService[];
  grants?: CaseGrant[];
  splits?: CaseSplit[];
  exportPorts?: { namespace?: string; service: string; port: number; endpoints?: Partial<LocalEndpoint>[] }[];
  peers?: string[];
  revoked?: string[];
  /** Domains of federated fleets; their roots are no certificates. */
  foreignFleets?: { fleetDomain: FleetDomain; rootsPem: string }[];
}

export interface MeshCase {
  readonly ir: MeshIr;
  readonly proxy: ProxyClass;
  readonly settings: TranslateSettings;
}

function endpoint(given: Partial<LocalEndpoint>): LocalEndpoint {
  return {
    address: "10.244.0.5",
    port: 8080,
    ready: true,
    serviceAccount: "cart",
    meshed: true,
    podName: "cart-1",
    workloadKind: "Deployment",
    workloadName: "cart",
    zone: "",
    ...given,
  };
}

function spiffeId(text: string): SpiffeId {
  const [cluster = "", namespace = "", serviceAccount = ""] = text.split("/");
  return workloadSpiffeId({
    trustDomain: trustDomainOf(cluster as ClusterName, fleetDomain),
    namespace,
    serviceAccount,
  });
}

function identitiesOf(
  given: CasePort,
  local: readonly LocalEndpoint[],
  cluster: string,
  namespace: string,
): readonly SpiffeId[] {
  const texts =
    given.identities ?? local.filter((one) => one.meshed).map((one) => `${cluster}/${namespace}/${one.serviceAccount}`);
  return [...new Set(texts)].sort().map(spiffeId);
}

function servicePort(given: CasePort, service: CaseService, cluster: ClusterName): ServicePortIr {
  const namespace = service.namespace ?? "shop";
  const local = (given.local ?? []).map(endpoint);
  const remote = (given.remote ?? []).map((backend) => {
    const callee = backend.cluster;
    const sni = sniName({ port: given.port, service: service.name, namespace, caller: cluster, callee, fleetDomain });
    return { gateways: [], sni, ready: 1, total: 1, priority: 1, region: "", zone: "", ...backend, cluster: callee };
  });
  const identities = identitiesOf(given, local, cluster, namespace);
  return { name: "http", port: given.port, protocol: given.protocol ?? "http", local, remote, identities };
}

function localNames(name: string): readonly string[] {
  return [name, `${name}.svc.cluster.local`];
}

function service(given: CaseService, cluster: ClusterName): ServiceIr {
  const { scope = "cluster", namespace = "shop", name } = given;
  return {
    key: `${scope}/${namespace}/${name}`,
    scope,
    namespace,
    name,
    vips: given.vips ?? [],
    hostnames: scope === "fleet" ? [`${name}.${namespace}.svc.clusterset.local`] : localNames(`${name}.${namespace}`),
    headless: given.headless ?? false,
    ports: given.ports.map((port) => servicePort(port, given, cluster)),
    origin: { kind: "Service", namespace, name },
  };
}

function source(text: string): SourceIr {
  const [cluster = "", namespace = "", serviceAccount = ""] = text.split("/");
  const foreign = cluster.includes(".") ? parseForeignSource(cluster) : undefined;
  return { namespace, serviceAccount, ...(foreign?.ok === true ? foreign.value : { cluster }) };
}

function grant(given: CaseGrant): GrantIr {
  const [namespace = "", serviceAccount = ""] = given.to.split("/");
  const http = given.http ?? "any";
  return {
    origin: { kind: "TrafficTarget", namespace, name: given.name },
    sources: given.from.map(source),
    destinationNamespace: namespace,
    destinationServiceAccount: serviceAccount,
    ports: given.ports ?? [],
    http: http === "any" ? http : http.map(wholeMatch),
    ...(given.tcp === true ? { tcp: true } : {}),
  };
}

function wholeMatch(given: Partial<HttpMatchIr>): HttpMatchIr {
  return { pathRegex: "", methods: [], headers: [], ...given };
}

function split({ root, matches, ports }: CaseSplit): SplitIr {
  const [, namespace = "", name = ""] = root.split("/");
  return {
    origin: { kind: "TrafficSplit", namespace, name },
    root,
    matches: matches === undefined ? "all" : matches.map(wholeMatch),
    ports: ports.map(({ port, backends }) => ({
      port,
      backends: Object.entries(backends).map(([key, weight]) => ({ service: key, weight })),
    })),
  };
}

function peer(text: string): PeerIr {
  const cluster = text as ClusterName;
  return { cluster, trustDomain: trustDomainOf(cluster, fleetDomain) };
}

/** The text of an in.yaml; YAML of our own test data is trusted to have this shape, a wrong one fails the comparison. */
export function readCase(text: string): MeshCase {
  const given = parse(text) as CaseInput;
  const cluster = (given.cluster ?? "east") as ClusterName;
  const exportPorts = (given.exportPorts ?? []).map((exported): ExportPortIr => ({
    namespace: exported.namespace ?? "shop",
    service: exported.service,
    port: exported.port,
    endpoints: (exported.endpoints ?? []).map(endpoint),
  }));
  const ir = {
    fleetDomain,
    cluster,
    trustDomain: trustDomainOf(cluster, fleetDomain),
    permissive: given.permissive ?? false,
    ...(given.modeExceptions === undefined ? {} : { modeExceptions: given.modeExceptions }),
    ...(given.egress === undefined ? {} : { egress: given.egress }),
    services: (given.services ?? []).map((one) => service(one, cluster)),
    grants: (given.grants ?? []).map(grant),
    splits: (given.splits ?? []).map(split),
    workloads: [],
    exportPorts,
    peers: (given.peers ?? []).map(peer),
    revokedTrustDomains: given.revoked ?? [],
    ...(given.foreignFleets === undefined ? {} : { foreignFleets: given.foreignFleets }),
  };
  return { ir: ir, proxy: given.proxy, settings: { ...defaultSettings, ...given.settings } };
}
