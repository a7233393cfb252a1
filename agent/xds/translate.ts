// The entry of this folder: what the mesh means (IR) to what one proxy is told (xDS). Called by agent/ads for every proxy class
// on every push; pure. Equal parts of the IR give the same message objects again, so a push costs O(change).
// Every resource that another one names must be in the same set: the snapshot refuses a set that does not close over its references.
import type { MeshIr } from "../ir/types.ts";
import {
  applicationCluster,
  exportCluster,
  isHttp,
  passthroughCluster,
  undeclaredApplicationCluster,
  upstreamCluster,
} from "./clusters.ts";
import { loadAssignment } from "./endpoints.ts";
import { exportName, gatewayListener, gatewayShape } from "./gateway.ts";
import { grantsTo } from "./grants.ts";
import { inboundListener } from "./inbound.ts";
import { outboundListener, outboundShape, portName } from "./listeners.ts";
import type { OutboundDefault } from "./matcher.ts";
import type { LocalProtocol } from "./names.ts";
import type { ProxyClass, ProxyTrust } from "./proxy.ts";
import type { Policy } from "./rbac.ts";
import { latest, remembered, type LatestOf } from "./remembered.ts";
import type { JsonMessage, ResourceSet, ResourceType } from "./resource.ts";
import { inboundRoutes, outboundRoutes, plaintextRoutes } from "./routes.ts";
import { identitiesSecret, rootsSecret, svidSecret } from "./secrets.ts";
import { visibleTo, type VisiblePort } from "./visibility.ts";

type SidecarClass = Extract<ProxyClass, { readonly kind: "sidecar" }>;
type GatewayClass = Extract<ProxyClass, { readonly kind: "gateway" }>;

/** What no Kubernetes object of a single service decides. */
export interface TranslateSettings {
  readonly outboundDefault: OutboundDefault;
}

/** Passthrough, as OSM 1.2 ships: an application's calls to the API server or the outside go on when its pod is injected. */
export const defaultSettings: TranslateSettings = { outboundDefault: "passthrough" };

type Resources = Record<ResourceType, Map<string, JsonMessage>>;

function emptyResources(trust: ProxyTrust): Resources {
  const sds = new Map<string, JsonMessage>();
  for (const secret of [
    remembered(trust, "svid", () => svidSecret(trust)),
    remembered(trust, "roots", () => rootsSecret(trust)),
  ]) {
    put(sds, secret);
  }
  return { cds: new Map(), eds: new Map(), lds: new Map(), rds: new Map(), sds };
}

function put(into: Map<string, JsonMessage>, message: JsonMessage): void {
  const name = message["name"] ?? message["cluster_name"];
  if (typeof name !== "string") throw new Error("an xDS resource must have a name");
  into.set(name, message);
}

interface PortMessages {
  readonly cluster: JsonMessage;
  readonly routes: JsonMessage | undefined;
}

/** Cluster and routes: they depend on the port's name and protocol only, not on who looks at it. */
function portMessages(visible: VisiblePort, ir: MeshIr): PortMessages {
  const { service, port } = visible;
  const name = portName(visible);
  return remembered(port, `messages|${name}|${service.headless}|${ir.fleetDomain}`, () => ({
    cluster: upstreamCluster({
      name,
      identities: portName(visible, "identities"),
      protocol: port.protocol,
      byAddress: isByAddress(visible),
      fleet: ir.fleetDomain,
    }),
    routes: isHttp(port.protocol) ? outboundRoutes(name) : undefined,
  }));
}

function isByAddress({ service }: VisiblePort): boolean {
  return service.headless && service.scope === "cluster";
}

function addVisiblePort(resources: Resources, visible: VisiblePort, ir: MeshIr, trust: ProxyTrust): void {
  const { port, local } = visible;
  const name = portName(visible);
  const { cluster, routes } = portMessages(visible, ir);
  put(resources.cds, cluster);
  if (routes !== undefined) put(resources.rds, routes);
  if (!isByAddress(visible)) {
    // `local` belongs to this port alone and is the same array as long as the port and what the caller may reach are
    put(
      resources.eds,
      remembered(local, `eds|${name}`, () => loadAssignment({ name, local, remote: port.remote })),
    );
  }
  const identities = portName(visible, "identities");
  const { rootsPem } = trust;
  put(
    resources.sds,
    remembered(port, `sds|${identities}|${ir.fleetDomain}|${rootsPem}`, () =>
      identitiesSecret({ name: identities, identities: port.identities, fleet: ir.fleetDomain, rootsPem }),
    ),
  );
}

const outboundListeners: LatestOf<JsonMessage> = new WeakMap();

function addOutbound(resources: Resources, input: TranslateInput, proxy: SidecarClass): void {
  const { ir, trust, settings } = input;
  const visibility = visibleTo(ir, proxy);
  for (const visible of visibility.ports) addVisiblePort(resources, visible, ir, trust);
  const { outboundDefault } = settings;
  if (outboundDefault === "passthrough") put(resources.cds, passthroughCluster);
  const outbound = { caller: proxy, visibility, outboundDefault };
  put(
    resources.lds,
    latest(outboundListeners, proxy, outboundShape(outbound), () => outboundListener(outbound)),
  );
}

/** The protocols in which a port's application may be spoken to; which one, the routes say. */
function localProtocols(http: boolean, permissive: boolean): readonly LocalProtocol[] {
  if (!http) return ["tcp"];
  return permissive ? ["h1", "h2", "same"] : ["h1", "h2"];
}

interface InboundMessages {
  readonly lds: readonly JsonMessage[];
  readonly rds: readonly JsonMessage[];
  readonly cds: readonly JsonMessage[];
}

function inboundMessages(proxy: SidecarClass, policy: Policy): InboundMessages {
  const http = proxy.inbound.filter(({ protocol }) => isHttp(protocol));
  const applications = proxy.inbound.flatMap(({ port, protocol }) =>
    localProtocols(isHttp(protocol), policy.permissive).map((local) => applicationCluster(port, local)),
  );
  return {
    lds: [inboundListener({ ports: proxy.inbound, policy, fleet: policy.fleet })],
    rds: http.flatMap((port) => [inboundRoutes(port, policy), plaintextRoutes(port, policy.permissive)]),
    cds: policy.permissive ? [...applications, undeclaredApplicationCluster] : applications,
  };
}

const inboundSets: LatestOf<InboundMessages> = new WeakMap();

function addInbound(resources: Resources, ir: MeshIr, proxy: SidecarClass): void {
  const grants = grantsTo(ir, proxy);
  const policy: Policy = { fleet: ir.fleetDomain, grants, permissive: ir.permissive, revoked: ir.revokedTrustDomains };
  const needs = [ir.fleetDomain, ir.permissive, ir.revokedTrustDomains.join(" "), ...grants];
  const messages = latest(inboundSets, proxy, needs, () => inboundMessages(proxy, policy));
  for (const type of ["cds", "lds", "rds"] as const)
    for (const message of messages[type]) put(resources[type], message);
}

const gatewayListeners: LatestOf<JsonMessage> = new WeakMap();

function addGateway(resources: Resources, ir: MeshIr, proxy: GatewayClass): void {
  for (const exported of ir.exportPorts) {
    const name = exportName(exported);
    const local = exported.endpoints.filter((endpoint) => endpoint.meshed);
    put(
      resources.cds,
      remembered(exported, `export|${name}`, () => exportCluster(name)),
    );
    put(
      resources.eds,
      remembered(exported, `eds|${name}`, () => loadAssignment({ name, local, remote: [] })),
    );
  }
  put(
    resources.lds,
    latest(gatewayListeners, proxy, gatewayShape(ir), () => gatewayListener(ir)),
  );
}

interface TranslateInput {
  readonly ir: MeshIr;
  readonly trust: ProxyTrust;
  readonly settings: TranslateSettings;
}

/** Every resource of one proxy class, from one IR. */
export function translate(
  ir: MeshIr,
  proxy: ProxyClass,
  trust: ProxyTrust,
  settings: TranslateSettings = defaultSettings,
): ResourceSet {
  const resources = emptyResources(trust);
  if (proxy.kind === "gateway") {
    addGateway(resources, ir, proxy);
    return resources;
  }
  addOutbound(resources, { ir, trust, settings }, proxy);
  addInbound(resources, ir, proxy);
  return resources;
}
