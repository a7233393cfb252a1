// The entry of this folder: what the mesh means (IR) to what one proxy is told (xDS). Called by agent/ads for every proxy class
// on every push; pure. Equal parts of the IR give the same message objects again, so a push costs O(change).
// Every resource that another one names must be in the same set: the snapshot refuses a set that does not close over its references.
import { grantsTo, opensTcp } from "../ir/grants.ts";
import { isPermissive } from "../ir/modes.ts";
import type { ForeignFleet } from "../ir/inputs.ts";
import type { GrantIr, MeshIr } from "../ir/types.ts";
import {
  applicationCluster,
  exportCluster,
  isHttp,
  passthroughCluster,
  undeclaredApplicationCluster,
} from "./clusters.ts";
import { redirectedInput, redirectedListener, redirectedShape, type Redirect } from "./bound-redirect.ts";
import { loadAssignment } from "./endpoints.ts";
import { exportName, gatewayListener, gatewayShape } from "./gateway.ts";
import { httpProxyCluster, httpProxyListener, httpProxyRoutes, httpProxyShape, outsideCluster } from "./http-proxy.ts";
import { applicationOf, boundInboundListeners, inboundListener, type InboundInput } from "./inbound.ts";
import { outboundListener, outboundShape } from "./listeners.ts";
import { loopbackListeners } from "./loopback.ts";
import type { OutboundDefault } from "./matcher.ts";
import { formatName, type LocalProtocol } from "./names.ts";
import type { ProxyClass, ProxyTrust } from "./proxy.ts";
import type { Policy } from "./rbac.ts";
import { nowhere, reachableFrom } from "./reachable.ts";
import { latest, remembered, type LatestOf } from "./remembered.ts";
import type { JsonMessage, ResourceSet, ResourceType } from "./resource.ts";
import { refusedRoutes } from "./refused-routes.ts";
import { inboundRoutes, plaintextRoutes } from "./routes.ts";
import { callersSecret, foreignRootsSecret, identitiesSecret, rootsSecret, svidSecret } from "./secrets.ts";
import { calledByName, meshView, type PortView } from "./service-ports.ts";
import { unreadyRoutes } from "./unready.ts";
import { everythingVisible, visibleByGrants, type Visible, type VisiblePort } from "./visibility.ts";

type SidecarClass = Extract<ProxyClass, { readonly kind: "sidecar" }>;
type BoundClass = SidecarClass & Required<Pick<SidecarClass, "bound">>;
type GatewayClass = Extract<ProxyClass, { readonly kind: "gateway" }>;

/** What no Kubernetes object of a single service decides. */
export interface TranslateSettings {
  readonly outboundDefault: OutboundDefault;
  /** Whether requests are counted by pod: pods that come and go are most of what a Prometheus has to hold. */
  readonly podLabel: boolean;
}

/** Passthrough, as OSM 1.2 ships: an application's calls to the API server or the outside go on when its pod is injected. */
export const defaultSettings: TranslateSettings = { outboundDefault: "passthrough", podLabel: true };

type Resources = Record<ResourceType, Map<string, JsonMessage>>;

function put(into: Map<string, JsonMessage>, message: JsonMessage): void {
  const name = message["name"] ?? message["cluster_name"];
  if (typeof name !== "string") throw new Error("an xDS resource must have a name");
  into.set(name, message);
}

function emptyResources(): Resources {
  return { cds: new Map(), eds: new Map(), lds: new Map(), rds: new Map(), ecds: new Map(), sds: new Map() };
}

function copyOf(resources: Resources): Resources {
  const { cds, eds, lds, rds, ecds, sds } = resources;
  const outbound = { cds: new Map(cds), eds: new Map(eds), lds: new Map(lds) };
  return { ...outbound, rds: new Map(rds), ecds: new Map(ecds), sds: new Map(sds) };
}

interface TranslateInput {
  readonly ir: MeshIr;
  readonly trust: ProxyTrust;
  readonly settings: TranslateSettings;
}

/** `local` belongs to this port alone. */
function endpointsOf({ view, local }: VisiblePort, name: string): JsonMessage {
  const { port, service } = view;
  const requestsTo = isHttp(port.protocol) ? service.name : undefined;
  return remembered(local, `eds|${name}`, () => loadAssignment({ name, local, remote: port.remote, requestsTo }));
}

function addPlaintext(resources: Resources, { plaintext }: PortView): void {
  if (plaintext === undefined) return;
  put(resources.cds, plaintext.cluster);
  put(resources.eds, plaintext.assignment);
}

function addIdentities(resources: Resources, view: PortView, { ir, trust }: TranslateInput): void {
  const { identitiesName: name, port } = view;
  const { identities } = port;
  const { rootsPem } = trust;
  const secret = () => identitiesSecret({ name, identities, fleet: ir.fleetDomain, rootsPem });
  resources.sds.set(name, remembered(port, `identities|${name}|${ir.fleetDomain}|${rootsPem}`, secret));
}

function addVisiblePort(resources: Resources, visible: VisiblePort, input: TranslateInput): void {
  const { view } = visible;
  const { name } = view;
  resources.cds.set(name, view.cluster);
  if (view.routes !== undefined) resources.rds.set(name, view.routes);
  if (view.filter !== undefined) resources.ecds.set(name, view.filter);
  if (!view.byAddress) resources.eds.set(name, endpointsOf(visible, name));
  addPlaintext(resources, view);
  addIdentities(resources, view, input);
}

/** Where a share of a split goes; it cannot be dialled by this. */
function addBackend(resources: Resources, backend: VisiblePort, input: TranslateInput): void {
  const { view } = backend;
  const { name, cluster } = view.balanced ?? view;
  resources.cds.set(name, cluster);
  resources.eds.set(name, endpointsOf(backend, name));
  addPlaintext(resources, view);
  addIdentities(resources, view, input);
}

const outboundListeners: LatestOf<JsonMessage> = new WeakMap();

/** `anchor`: whose listener it is; an unchanged shape gives its latest one again. */
function outboundResources(input: TranslateInput, { ports: visible, backends }: Visible, anchor: object): Resources {
  const { ir, settings } = input;
  const resources = emptyResources();
  for (const port of visible) addVisiblePort(resources, port, input);
  for (const backend of backends) addBackend(resources, backend, input);
  const { outboundDefault, podLabel } = settings;
  if (outboundDefault === "passthrough") put(resources.cds, passthroughCluster);
  const { addresses } = meshView(ir);
  const outbound = { visible, addresses, outboundDefault, podLabel };
  put(resources.rds, refusedRoutes(meshView(ir), ir.cluster));
  put(
    resources.lds,
    latest(outboundListeners, anchor, outboundShape(outbound), () => outboundListener(outbound)),
  );
  return resources;
}

const proxyListeners: LatestOf<JsonMessage> = new WeakMap();
const proxyRoutes: LatestOf<JsonMessage> = new WeakMap();

/** Without a redirect: an HTTP proxy, and service ports on loopback addresses. */
function boundOutboundResources(input: TranslateInput, seen: Visible, proxy: BoundClass): Resources {
  const { ir, settings } = input;
  const { bound, namespace } = proxy;
  const { outboundDefault, podLabel } = settings;
  const resources = emptyResources();
  const visible = seen.ports.map(({ view, local }) => ({ view: calledByName(view, ir.fleetDomain), local }));
  const views = visible.map(({ view }) => view);
  for (const port of visible) addVisiblePort(resources, port, input);
  for (const backend of seen.backends) addBackend(resources, backend, input);
  for (const listener of loopbackListeners(views, { bound, podLabel })) put(resources.lds, listener);
  const routes = { views, mesh: meshView(ir), cluster: ir.cluster, namespace, outboundDefault };
  put(
    resources.rds,
    latest(proxyRoutes, proxy, httpProxyShape(routes), () => httpProxyRoutes(routes)),
  );
  put(
    resources.lds,
    latest(proxyListeners, proxy, [outboundDefault, podLabel], () => httpProxyListener(bound, settings)),
  );
  put(
    resources.cds,
    remembered(bound, "http proxy", () => httpProxyCluster(bound)),
  );
  if (outboundDefault === "passthrough") put(resources.cds, outsideCluster);
  if (bound.redirect !== undefined) addRedirected(resources, input, visible, { proxy, redirect: bound.redirect });
  return resources;
}

interface Redirected {
  readonly proxy: BoundClass;
  readonly redirect: Redirect;
}

function addRedirected(
  resources: Resources,
  { ir, settings: { outboundDefault, podLabel } }: TranslateInput,
  visible: readonly VisiblePort[],
  { proxy, redirect }: Redirected,
): void {
  if (outboundDefault === "passthrough") put(resources.cds, passthroughCluster);
  const { addresses } = meshView(ir);
  const outbound = redirectedInput({ visible, addresses, outboundDefault, podLabel }, proxy.bound, redirect);
  put(resources.rds, refusedRoutes(meshView(ir), ir.cluster));
  put(
    resources.lds,
    latest(outboundListeners, proxy, redirectedShape(outbound, redirect), () => redirectedListener(outbound, redirect)),
  );
}

function isBound(proxy: SidecarClass): proxy is BoundClass {
  return proxy.bound !== undefined;
}

const permissiveCallers = {};
const outboundSets: LatestOf<Resources> = new WeakMap();

/** Where everything is permissive all callers see the same, and those that bind nothing of their own share one set. */
function outboundOf(input: TranslateInput, proxy: SidecarClass): Resources {
  const { ir, trust, settings } = input;
  const mesh = meshView(ir);
  const open = ir.permissive && ir.modeExceptions === undefined;
  const reachable = open ? nowhere : reachableFrom(ir, proxy);
  const anchor = open && !isBound(proxy) ? permissiveCallers : proxy;
  const { outboundDefault, podLabel } = settings;
  const needs = [mesh, ir.fleetDomain, trust.rootsPem, outboundDefault, podLabel, reachable.text];
  return latest(outboundSets, anchor, needs, () => {
    const visible = open ? everythingVisible(mesh) : visibleByGrants(mesh, reachable);
    return isBound(proxy) ? boundOutboundResources(input, visible, proxy) : outboundResources(input, visible, anchor);
  });
}

/** The protocols in which a port's application may be spoken to; which one, the routes say. */
function localProtocols(http: boolean, permissive: boolean): readonly LocalProtocol[] {
  if (!http) return ["tcp"];
  return permissive ? ["h1", "h2", "same"] : ["h1", "h2"];
}

/** Of ports that carry raw TCP: who may connect at all. Where everybody may, the fleet's roots say it. */
function callersSecrets({ ports, policy }: InboundInput, rootsPem: string): readonly JsonMessage[] {
  if (policy.permissive) return [];
  return ports
    .filter(({ protocol }) => !isHttp(protocol))
    .map(({ port }) => {
      const sources = policy.grants.filter((grant) => opensTcp(grant, port)).flatMap((grant) => grant.sources);
      return callersSecret(formatName({ kind: "callers", port }), sources, { ...policy, rootsPem });
    });
}

interface InboundMessages {
  readonly sds: readonly JsonMessage[];
  readonly lds: readonly JsonMessage[];
  readonly rds: readonly JsonMessage[];
  readonly cds: readonly JsonMessage[];
}

/** By which callers are verified: our own fleet's roots, and those of other fleets, each for itself. */
interface InboundTrust {
  readonly rootsPem: string;
  readonly fleets: readonly ForeignFleet[];
}

function inboundMessages(
  { inbound, bound }: SidecarClass,
  policy: Policy,
  { rootsPem, fleets }: InboundTrust,
): InboundMessages {
  // a port that only a Service names is nobody's to bind: its application may listen there itself
  const ports = inbound.filter(({ port }) => bound === undefined || applicationOf(bound, port) !== undefined);
  const http = ports.filter(({ protocol }) => isHttp(protocol));
  const applications = ports.flatMap(({ port, protocol }) => {
    const address = bound === undefined ? undefined : applicationOf(bound, port);
    const protocols = localProtocols(isHttp(protocol), policy.permissive);
    return protocols.map((local) => applicationCluster(port, local, address));
  });
  const input = { ports, policy };
  const undeclaredToo = policy.permissive && bound === undefined;
  return {
    sds: [...callersSecrets(input, rootsPem), ...(ports.length === 0 ? [] : fleets.map(foreignRootsSecret))],
    lds: bound === undefined ? [inboundListener(input)] : boundInboundListeners(bound, input),
    rds: http.flatMap((port) => [
      bound?.unready === true ? unreadyRoutes(port.port, policy) : inboundRoutes(port, policy),
      plaintextRoutes(port, policy.permissive),
    ]),
    cds: undeclaredToo ? [...applications, undeclaredApplicationCluster] : applications,
  };
}

const noFleets: readonly ForeignFleet[] = [];

/** Fleets with a grant to this server: only their callers get a chain, so that nobody else's listener knows of them. */
function foreignOf({ foreignFleets = noFleets }: MeshIr, grants: readonly GrantIr[]): readonly ForeignFleet[] {
  if (foreignFleets.length === 0) return noFleets;
  const named = new Set(grants.flatMap(({ sources }) => sources.map(({ fleet }) => fleet)));
  return foreignFleets.filter(({ fleetDomain }) => named.has(fleetDomain));
}

const inboundSets: LatestOf<InboundMessages> = new WeakMap();

function inboundOf({ ir, trust: { rootsPem } }: TranslateInput, proxy: SidecarClass): InboundMessages {
  const grants = grantsTo(ir.grants, proxy);
  const { fleetDomain: fleet, revokedTrustDomains: revoked } = ir;
  const permissive = isPermissive(ir, proxy.namespace);
  const fleets = foreignOf(ir, grants);
  const foreign = fleets.map(({ fleetDomain }) => fleetDomain);
  const policy: Policy = { fleet, grants, permissive, revoked, foreign };
  const needs = [fleet, permissive, revoked.join(" "), rootsPem, ...fleets, ...grants];
  return latest(inboundSets, proxy, needs, () => inboundMessages(proxy, policy, { rootsPem, fleets }));
}

function addInbound(resources: Resources, messages: InboundMessages): void {
  for (const type of ["sds", "cds", "lds", "rds"] as const)
    for (const message of messages[type]) put(resources[type], message);
}

const gatewayListeners: LatestOf<JsonMessage> = new WeakMap();

function addGateway(resources: Resources, ir: MeshIr, proxy: GatewayClass): void {
  for (const exported of ir.exportPorts) {
    const name = exportName(exported);
    // TLS ends at the pod: one without a sidecar could not answer
    const assignment = () =>
      loadAssignment({ name, local: exported.endpoints.filter((endpoint) => endpoint.meshed), remote: [] });
    put(
      resources.cds,
      remembered(exported, `export|${name}`, () => exportCluster(name)),
    );
    put(resources.eds, remembered(exported, `eds|${name}`, assignment));
  }
  put(
    resources.lds,
    latest(gatewayListeners, proxy, gatewayShape(ir), () => gatewayListener(ir, proxy.bind)),
  );
}

function addTrust(resources: Resources, trust: ProxyTrust, ir: MeshIr): void {
  const { fleetDomain: fleet, revokedTrustDomains: revoked } = ir;
  const { rootsPem } = trust;
  put(
    resources.sds,
    remembered(trust, "svid", () => svidSecret(trust)),
  );
  put(
    resources.sds,
    remembered(trust, `roots|${fleet}|${revoked.join(" ")}`, () => rootsSecret({ rootsPem, fleet, revoked })),
  );
}

function trustNeeds({ ir, trust }: TranslateInput): readonly unknown[] {
  return [trust, ir.fleetDomain, ir.revokedTrustDomains.join(" ")];
}

const sidecarSets: LatestOf<ResourceSet> = new WeakMap();

function sidecarSet(input: TranslateInput, proxy: SidecarClass): ResourceSet {
  const { ir, trust } = input;
  const outbound = outboundOf(input, proxy);
  const inbound = inboundOf(input, proxy);
  return latest(sidecarSets, proxy, [outbound, inbound, ...trustNeeds(input)], () => {
    const resources = copyOf(outbound);
    addTrust(resources, trust, ir);
    addInbound(resources, inbound);
    return resources;
  });
}

const gatewaySets: LatestOf<ResourceSet> = new WeakMap();

function gatewaySet(input: TranslateInput, proxy: GatewayClass): ResourceSet {
  const { ir, trust } = input;
  const needs = [ir.cluster, ir.exportPorts, ir.peers, ...trustNeeds(input)];
  return latest(gatewaySets, proxy, needs, () => {
    const resources = emptyResources();
    addTrust(resources, trust, ir);
    addGateway(resources, ir, proxy);
    return resources;
  });
}

/** Every resource of one proxy class, from one IR. The very set of the last call when nothing of it changed. */
export function translate(
  ir: MeshIr,
  proxy: ProxyClass,
  trust: ProxyTrust,
  settings: TranslateSettings = defaultSettings,
): ResourceSet {
  const input = { ir, trust, settings };
  return proxy.kind === "sidecar" ? sidecarSet(input, proxy) : gatewaySet(input, proxy);
}
