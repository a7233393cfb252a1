// The client half of a sidecar's resources: what its workload may call, and where everything else goes. Called by translate.
import { allowsEgress } from "../ir/egress.ts";
import type { MeshIr } from "../ir/types.ts";
import { redirectedInput, redirectedListener, redirectedShape, type Redirect } from "./bound-redirect.ts";
import { isHttp, passthroughCluster } from "./clusters.ts";
import { loadAssignment } from "./endpoints.ts";
import { httpProxyCluster, httpProxyListener, httpProxyRoutes, httpProxyShape, outsideCluster } from "./http-proxy.ts";
import { outboundListener, outboundShape } from "./listeners.ts";
import { loopbackListeners } from "./loopback.ts";
import type { OutboundDefault } from "./matcher.ts";
import type { ProxyTrust, SidecarClass } from "./proxy.ts";
import { nowhere, reachableFrom } from "./reachable.ts";
import { refusedRoutes } from "./refused-routes.ts";
import { requestFilter } from "./request-filter.ts";
import { latest, remembered, type LatestOf } from "./remembered.ts";
import { noResources, put, type ResourceMaps } from "./resource-maps.ts";
import type { JsonMessage } from "./resource.ts";
import { identitiesSecret } from "./secrets.ts";
import { calledByName, meshView, type PortView } from "./service-ports.ts";
import { everythingVisible, visibleByGrants, type Visible, type VisiblePort } from "./visibility.ts";

type BoundClass = SidecarClass & Required<Pick<SidecarClass, "bound">>;

export interface OutboundFrom {
  readonly ir: MeshIr;
  readonly trust: ProxyTrust;
  /** Whether requests are counted by pod. */
  readonly podLabel: boolean;
}

interface Outbound extends OutboundFrom {
  readonly outboundDefault: OutboundDefault;
}

/** `local` belongs to this port alone. */
function endpointsOf({ view, local }: VisiblePort, name: string): JsonMessage {
  const { port, service } = view;
  const requestsTo = isHttp(port.protocol) ? service.name : undefined;
  return remembered(local, `eds|${name}`, () => loadAssignment({ name, local, remote: port.remote, requestsTo }));
}

function addPlaintext(resources: ResourceMaps, { plaintext }: PortView): void {
  if (plaintext === undefined) return;
  put(resources.cds, plaintext.cluster);
  put(resources.eds, plaintext.assignment);
}

function addIdentities(resources: ResourceMaps, view: PortView, { ir, trust }: Outbound): void {
  const { identitiesName: name, port } = view;
  const { identities } = port;
  const { rootsPem } = trust;
  const secret = () => identitiesSecret({ name, identities, fleet: ir.fleetDomain, rootsPem });
  resources.sds.set(name, remembered(port, `identities|${name}|${ir.fleetDomain}|${rootsPem}`, secret));
}

function addVisiblePort(resources: ResourceMaps, visible: VisiblePort, outbound: Outbound): void {
  const { view } = visible;
  const { name } = view;
  resources.cds.set(name, view.cluster);
  if (view.routes !== undefined) resources.rds.set(name, view.routes);
  if (view.filter !== undefined) resources.ecds.set(name, view.filter);
  if (!view.byAddress) resources.eds.set(name, endpointsOf(visible, name));
  addPlaintext(resources, view);
  addIdentities(resources, view, outbound);
}

/** What the chains of the outbound listener name. */
function addRequestFilters(resources: ResourceMaps, visible: readonly VisiblePort[], podLabel: boolean): void {
  for (const { view } of visible) {
    const filter = requestFilter(view, podLabel);
    if (filter !== undefined) put(resources.ecds, filter);
  }
}

/** Where a share of a split goes; it cannot be dialled by this. */
function addBackend(resources: ResourceMaps, backend: VisiblePort, outbound: Outbound): void {
  const { view } = backend;
  const { name, cluster } = view.balanced ?? view;
  resources.cds.set(name, cluster);
  resources.eds.set(name, endpointsOf(backend, name));
  addPlaintext(resources, view);
  addIdentities(resources, view, outbound);
}

const listeners: LatestOf<JsonMessage> = new WeakMap();

/** `anchor`: whose listener it is; an unchanged shape gives its latest one again. */
function redirectedResources(outbound: Outbound, { ports: visible, backends }: Visible, anchor: object): ResourceMaps {
  const { ir, outboundDefault, podLabel } = outbound;
  const resources = noResources();
  for (const port of visible) addVisiblePort(resources, port, outbound);
  addRequestFilters(resources, visible, podLabel);
  for (const backend of backends) addBackend(resources, backend, outbound);
  if (outboundDefault === "passthrough") put(resources.cds, passthroughCluster);
  const { addresses } = meshView(ir);
  const shown = { visible, addresses, outboundDefault, podLabel };
  put(resources.rds, refusedRoutes(meshView(ir), ir.cluster));
  put(
    resources.lds,
    latest(listeners, anchor, outboundShape(shown), () => outboundListener(shown)),
  );
  return resources;
}

const proxyListeners: LatestOf<JsonMessage> = new WeakMap();
const proxyRoutes: LatestOf<JsonMessage> = new WeakMap();

/** Without a redirect: an HTTP proxy, and service ports on loopback addresses. */
function boundResources(outbound: Outbound, seen: Visible, proxy: BoundClass): ResourceMaps {
  const { ir, outboundDefault, podLabel } = outbound;
  const { bound, namespace } = proxy;
  const resources = noResources();
  const visible = seen.ports.map(({ view, local }) => ({ view: calledByName(view, ir.fleetDomain), local }));
  const views = visible.map(({ view }) => view);
  for (const port of visible) addVisiblePort(resources, port, outbound);
  for (const backend of seen.backends) addBackend(resources, backend, outbound);
  const loopback = { bound, cluster: ir.cluster, podLabel };
  for (const listener of loopbackListeners(views, refusedBy(bound, ir, seen), loopback)) put(resources.lds, listener);
  const routes = { views, mesh: meshView(ir), cluster: ir.cluster, namespace, outboundDefault };
  put(
    resources.rds,
    latest(proxyRoutes, proxy, httpProxyShape(routes), () => httpProxyRoutes(routes)),
  );
  const listener = () => httpProxyListener(bound, { outboundDefault, podLabel });
  put(resources.lds, latest(proxyListeners, proxy, [outboundDefault, podLabel], listener));
  put(
    resources.cds,
    remembered(bound, "http proxy", () => httpProxyCluster(bound)),
  );
  if (outboundDefault === "passthrough") put(resources.cds, outsideCluster);
  if (bound.redirect !== undefined) addRedirected(resources, outbound, visible, { proxy, redirect: bound.redirect });
  return resources;
}

/** A redirected program is answered by the default of its outbound listener. */
function refusedBy(bound: BoundClass["bound"], ir: MeshIr, { ports }: Visible): readonly PortView[] {
  if (bound.redirect !== undefined) return [];
  const seen = new Set(ports.map(({ view }) => view));
  return meshView(ir).ports.filter((view) => !seen.has(view));
}

interface Redirected {
  readonly proxy: BoundClass;
  readonly redirect: Redirect;
}

function addRedirected(
  resources: ResourceMaps,
  { ir, outboundDefault, podLabel }: Outbound,
  visible: readonly VisiblePort[],
  { proxy, redirect }: Redirected,
): void {
  if (outboundDefault === "passthrough") put(resources.cds, passthroughCluster);
  const { addresses } = meshView(ir);
  const shown = redirectedInput({ visible, addresses, outboundDefault, podLabel }, proxy.bound, redirect);
  put(resources.rds, refusedRoutes(meshView(ir), ir.cluster));
  addRequestFilters(resources, shown.visible, podLabel);
  put(
    resources.lds,
    latest(listeners, proxy, redirectedShape(shown, redirect), () => redirectedListener(shown, redirect)),
  );
}

function isBound(proxy: SidecarClass): proxy is BoundClass {
  return proxy.bound !== undefined;
}

/** Where everything is permissive all callers see the same, and those that bind nothing of their own share one set for each default. */
const permissiveCallers: Readonly<Record<OutboundDefault, object>> = { passthrough: {}, deny: {} };
const sets: LatestOf<ResourceMaps> = new WeakMap();

/** The same set as the last time when nothing of it changed. */
export function outboundResources(from: OutboundFrom, proxy: SidecarClass): ResourceMaps {
  const { ir, trust, podLabel } = from;
  const outboundDefault = allowsEgress(ir, proxy.namespace) ? "passthrough" : "deny";
  const outbound = { ...from, outboundDefault } as const;
  const mesh = meshView(ir);
  const open = ir.permissive && ir.modeExceptions === undefined;
  const reachable = open ? nowhere : reachableFrom(ir, proxy);
  const anchor = open && !isBound(proxy) ? permissiveCallers[outboundDefault] : proxy;
  const needs = [mesh, ir.fleetDomain, trust.rootsPem, outboundDefault, podLabel, reachable.text];
  return latest(sets, anchor, needs, () => {
    const visible = open ? everythingVisible(mesh) : visibleByGrants(mesh, reachable);
    return isBound(proxy) ? boundResources(outbound, visible, proxy) : redirectedResources(outbound, visible, anchor);
  });
}
