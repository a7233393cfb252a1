// The stores of SMI objects by kind, for writers that treat all kinds alike.
import type { SmiKindName } from "../smi/versions.ts";
import type { PolicyAside, Stores } from "./feeds.ts";
import type { Stored } from "./store.ts";

export interface PolicyStore {
  get(namespace: string, name: string): Stored<unknown, PolicyAside> | undefined;
  all(): IterableIterator<Stored<unknown, PolicyAside>>;
}

export function policyStore(stores: Stores, kind: SmiKindName): PolicyStore {
  const byKind: { readonly [K in SmiKindName]: PolicyStore } = {
    TrafficTarget: stores.trafficTargets,
    HTTPRouteGroup: stores.httpRouteGroups,
    TCPRoute: stores.tcpRoutes,
    UDPRoute: stores.udpRoutes,
    TrafficSplit: stores.trafficSplits,
  };
  return byKind[kind];
}
