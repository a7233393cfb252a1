// Everything the agent watches: one store per kind with its list-watch, and one notification for all of them.
// Made by kube.ts. Level-triggered: a notification says only which kinds moved; whoever listens reads the stores again.
import type { Clock } from "../../shared/clock.ts";
import type { Task } from "../../shared/lifecycle.ts";
import type { Log } from "../../shared/log.ts";
import type { KubeClient } from "./client.ts";
import { fieldOf, stringOf } from "./json.ts";
import { runListWatch, type FeedState, type ListWatchOptions } from "./list-watch.ts";
import { parseEndpointSlice } from "./parse/endpoint-slice.ts";
import { parseGatewayService } from "./parse/gateway-service.ts";
import { parseHttpRouteGroup } from "./parse/http-route-group.ts";
import { parseMeshConfig } from "./parse/mesh-config.ts";
import { labelName } from "./parse/metadata.ts";
import { parseNamespace } from "./parse/namespace.ts";
import { parsePod } from "./parse/pod.ts";
import { parseServiceExport } from "./parse/service-export.ts";
import { managedByUs, parseServiceImport } from "./parse/service-import.ts";
import { parseServiceAccount } from "./parse/service-account.ts";
import { parseService } from "./parse/service.ts";
import { parseTcpRoute } from "./parse/tcp-route.ts";
import { parseTrafficSplit } from "./parse/traffic-split.ts";
import { parseTrafficTarget } from "./parse/traffic-target.ts";
import { parseTrustConfigMap } from "./parse/trust-config-map.ts";
import { parseWebhook } from "./parse/webhook.ts";
import * as resources from "./resources.ts";
import { createStore, type ObjectStore, type StoreOptions } from "./store.ts";

export interface FeedNames {
  /** Namespace of the agent and its gateway. */
  readonly system: string;
  readonly gatewayService: string;
  readonly trustConfigMap: string;
  readonly webhook: string;
}

export interface FeedDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
}

export interface KindState {
  readonly kind: string;
  readonly feed: FeedState;
}

export type ChangeListener = (kinds: ReadonlySet<string>) => void;

export type Stores = ReturnType<typeof makeStores>;

export interface Feeds {
  readonly stores: Stores;
  /** Called once per burst, after it; the returned function ends the subscription. */
  readonly onChange: (listener: ChangeListener) => () => void;
  /** The version in which the API server has this kind; undefined when it has none. */
  readonly served: (kind: string) => resources.ResourceType | undefined;
  readonly states: () => readonly KindState[];
  /** Every kind has had its first complete list. */
  readonly synced: () => boolean;
  readonly tasks: readonly Task[];
}

export function createFeeds(names: FeedNames, deps: FeedDeps): Feeds {
  const hub = changeHub();
  const stores = makeStores(hub.touch);
  const states = new Map<string, FeedState>();
  const served = new Map<string, resources.ResourceType>();
  const sinceMs = deps.clock.now();
  const feeds = feedTable(names);
  for (const { kind } of feeds) states.set(kind, { state: "listing", sinceMs, reason: "starting" });
  const tasks = feeds.map(({ kind, store, options }): Task => {
    const onState = (state: FeedState) => {
      const before = states.get(kind)?.state;
      states.set(kind, state);
      if (state.state === "synced" && state.resource !== undefined) served.set(kind, state.resource);
      if (before === state.state) return;
      logState(deps.log, kind, state, [...states.values()].filter((other) => other.state === "stale").length);
      hub.touch(kind);
    };
    return {
      name: `watch ${kind}`,
      run: (signal) => runListWatch(options, stores[store].sink, { ...deps, onState }, signal),
    };
  });
  return {
    stores,
    tasks,
    onChange: hub.subscribe,
    served: (kind) => served.get(kind),
    states: () => [...states].map(([kind, feed]) => ({ kind, feed })),
    synced: () => [...states.values()].every((state) => state.state !== "listing"),
  };
}

/** Collects kinds within one turn of the event loop: a chunk with fifty events is one notification, without a timer. */
function changeHub(): { touch: (kind: string) => void; subscribe: (listener: ChangeListener) => () => void } {
  const listeners = new Set<ChangeListener>();
  let touched = new Set<string>();
  const flush = () => {
    const kinds = touched;
    touched = new Set();
    for (const listener of [...listeners]) listener(kinds);
  };
  return {
    touch: (kind) => {
      if (touched.size === 0) queueMicrotask(flush);
      touched.add(kind);
    },
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** What writers must know of an SMI object, even of one that cannot be read. */
export interface PolicyAside {
  readonly conditions: unknown;
  /** Of another member's object: ours to change and to take away. */
  readonly isCopy: boolean;
}

function policyAside(object: unknown): PolicyAside {
  const label = (key: string) => stringOf(fieldOf(object, "metadata", "labels", key));
  const isCopy = label(labelName.replicatedFrom) !== "" && label(labelName.managedBy) === managedByUs;
  return { conditions: fieldOf(object, "status", "conditions"), isCopy };
}

function makeStores(touch: (kind: string) => void) {
  function store<R>(kind: string, parse: StoreOptions<R, undefined>["parse"]): ObjectStore<R> {
    return createStore({ kind, parse, onChange: () => touch(kind), aside: () => undefined });
  }
  function policies<R>(kind: string, parse: StoreOptions<R, PolicyAside>["parse"]): ObjectStore<R, PolicyAside> {
    return createStore({ kind, parse, onChange: () => touch(kind), aside: policyAside });
  }
  return {
    namespaces: store("Namespace", parseNamespace),
    services: store("Service", parseService),
    slices: store("EndpointSlice", parseEndpointSlice),
    pods: store("Pod", parsePod),
    /** The status as it stands is kept aside: the writer of conditions compares with it. */
    exports: createStore({
      kind: "ServiceExport",
      parse: parseServiceExport,
      onChange: () => touch("ServiceExport"),
      aside: (object) => fieldOf(object, "status", "conditions"),
    }),
    imports: store("ServiceImport", parseServiceImport),
    trafficTargets: policies("TrafficTarget", parseTrafficTarget),
    httpRouteGroups: policies("HTTPRouteGroup", parseHttpRouteGroup),
    tcpRoutes: policies("TCPRoute", parseTcpRoute),
    udpRoutes: policies("UDPRoute", parseTcpRoute),
    trafficSplits: policies("TrafficSplit", parseTrafficSplit),
    meshConfigs: store("MeshConfig", parseMeshConfig),
    serviceAccounts: store("ServiceAccount", parseServiceAccount),
    trust: store("ConfigMap", parseTrustConfigMap),
    gateway: store("GatewayService", parseGatewayService),
    webhook: store("MutatingWebhookConfiguration", parseWebhook),
  };
}

interface FeedRow {
  readonly kind: string;
  readonly store: keyof Stores;
  readonly options: ListWatchOptions;
}

function feedTable(names: FeedNames): readonly FeedRow[] {
  const { system: namespace } = names;
  const named = (name: string) => ({ fieldSelector: `metadata.name=${name}` });
  return [
    { kind: "Namespace", store: "namespaces", options: { resources: [resources.namespaces] } },
    { kind: "Service", store: "services", options: { resources: [resources.services] } },
    { kind: "EndpointSlice", store: "slices", options: { resources: [resources.endpointSlices] } },
    { kind: "Pod", store: "pods", options: { resources: [resources.pods] } },
    {
      kind: "ServiceExport",
      store: "exports",
      options: { resources: [resources.serviceExports, resources.serviceExportsAlpha] },
    },
    {
      kind: "ServiceImport",
      store: "imports",
      options: { resources: [resources.serviceImports, resources.serviceImportsAlpha] },
    },
    { kind: "TrafficTarget", store: "trafficTargets", options: { resources: resources.smi.TrafficTarget } },
    { kind: "HTTPRouteGroup", store: "httpRouteGroups", options: { resources: resources.smi.HTTPRouteGroup } },
    { kind: "TCPRoute", store: "tcpRoutes", options: { resources: resources.smi.TCPRoute } },
    { kind: "UDPRoute", store: "udpRoutes", options: { resources: resources.smi.UDPRoute } },
    { kind: "TrafficSplit", store: "trafficSplits", options: { resources: resources.smi.TrafficSplit } },
    {
      kind: "MeshConfig",
      store: "meshConfigs",
      options: { resources: [resources.meshConfigs, resources.meshConfigsAlpha1] },
    },
    { kind: "ServiceAccount", store: "serviceAccounts", options: { resources: [resources.serviceAccounts] } },
    // by name: RBAC can then allow these ConfigMaps, and the one webhook, and no other
    {
      kind: "ConfigMap",
      store: "trust",
      options: { resources: [resources.configMaps], ...named(names.trustConfigMap) },
    },
    {
      kind: "GatewayService",
      store: "gateway",
      options: { resources: [resources.services], namespace, ...named(names.gatewayService) },
    },
    {
      kind: "MutatingWebhookConfiguration",
      store: "webhook",
      options: { resources: [resources.mutatingWebhooks], ...named(names.webhook) },
    },
  ];
}

/** An outage makes every watch stale: one line when it begins and one when the last watch is current again. */
function logState(log: Log, kind: string, now: FeedState, stale: number): void {
  if (now.state === "stale" && stale === 1) {
    log.warn("the API server is away: keeping the last known state", { kind, reason: now.reason });
  } else if (now.state === "synced" && stale === 0) {
    log.info("watch is current", { kind });
  }
}
