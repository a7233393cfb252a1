// The agent's view of its Kubernetes cluster: openKube connects and gives the stores, one notification, and the tasks
// that keep them. Called by agent/main.ts; the writers take the `Kube` it returns.
import { systemClock, type Clock } from "../../shared/clock.ts";
import { runTasks } from "../../shared/lifecycle.ts";
import type { Log } from "../../shared/log.ts";
import type { Problem } from "../../shared/result.ts";
import type { MeshInputs } from "../ir/inputs.ts";
import { egressAnnotation } from "../ir/egress.ts";
import { permissiveAnnotation } from "../ir/modes.ts";
import { createClient, type KubeClient } from "./client.ts";
import { openConnection, type ConnectionSource } from "./connection.ts";
import { createFeeds, type ChangeListener, type FeedNames, type Feeds, type KindState, type Stores } from "./feeds.ts";
import type { ClientOptions } from "./wire.ts";

export interface KubeConfig {
  readonly connection: ConnectionSource;
  readonly log: Log;
  readonly names?: Partial<FeedNames>;
  readonly clock?: Clock;
  /** In [0, 1): spreads reconnects and time-outs. */
  readonly random?: () => number;
  readonly client?: Partial<ClientOptions>;
}

/** What buildIr takes from Kubernetes; the composition root adds the fleet's part. */
export type KubeInputs = Pick<
  MeshInputs,
  | "serviceAccounts"
  | "udpRoutes"
  | "meshNamespaces"
  | "namespaceModes"
  | "namespaceEgress"
  | "meshConfigs"
  | "services"
  | "slices"
  | "pods"
  | "exports"
  | "trafficTargets"
  | "httpRouteGroups"
  | "tcpRoutes"
  | "trafficSplits"
> & { readonly namespaces: readonly string[] };

export interface Kube {
  readonly client: KubeClient;
  readonly names: FeedNames;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  readonly stores: Stores;
  /** `kinds` are those of states(). Also called when a watch becomes stale or current. */
  readonly onChange: (listener: ChangeListener) => () => void;
  readonly served: Feeds["served"];
  readonly states: () => readonly KindState[];
  readonly synced: () => boolean;
  /** Resolves after the first complete list of every kind. */
  readonly whenSynced: (signal: AbortSignal) => Promise<void>;
  /** An array is the same as last time when none of its members changed. */
  readonly inputs: () => KubeInputs;
  /** Of every object that could not be read. */
  readonly problems: () => readonly Problem[];
  /** Watches until aborted, then closes the connection. */
  readonly run: (signal: AbortSignal) => Promise<void>;
}

export const defaultNames: FeedNames = {
  system: "isthmus-system",
  gatewayService: "isthmus-gateway",
  trustConfigMap: "isthmus-trust",
  webhook: "isthmus-agent",
};

export async function openKube(config: KubeConfig): Promise<Kube> {
  const { log, clock = systemClock, random = Math.random } = config;
  const connection = await openConnection(config.connection, clock);
  const client = createClient(connection, config.client);
  const names = { ...defaultNames, ...config.names };
  const feeds = createFeeds(names, { client, clock, log, random });
  return {
    client,
    names,
    clock,
    log,
    random,
    stores: feeds.stores,
    onChange: feeds.onChange,
    served: feeds.served,
    states: feeds.states,
    synced: feeds.synced,
    whenSynced: (signal) => whenSynced(feeds, signal),
    inputs: inputsOf(feeds.stores),
    problems: () => problemsOf(feeds.stores),
    run: async (signal) => {
      try {
        await runTasks(signal, feeds.tasks);
      } finally {
        client.close();
      }
    },
  };
}

function whenSynced(feeds: Feeds, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (feeds.synced()) {
      resolve();
      return;
    }
    const stop = feeds.onChange(() => {
      if (!feeds.synced()) return;
      signal.removeEventListener("abort", abort);
      stop();
      resolve();
    });
    const abort = () => {
      stop();
      reject(new Error("stopped before the first complete list", { cause: signal.reason }));
    };
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}

function inputsOf(stores: Stores): () => KubeInputs {
  const namesOf = rememberLast(() => stores.namespaces.records());
  return () => ({
    ...namesOf(),
    services: stores.services.records(),
    slices: stores.slices.records(),
    pods: stores.pods.records(),
    exports: stores.exports.records(),
    trafficTargets: stores.trafficTargets.records(),
    httpRouteGroups: stores.httpRouteGroups.records(),
    tcpRoutes: stores.tcpRoutes.records(),
    trafficSplits: stores.trafficSplits.records(),
    serviceAccounts: stores.serviceAccounts.records(),
    meshConfigs: stores.meshConfigs.records(),
    udpRoutes: stores.udpRoutes.records(),
  });
}

type NamespaceRecords = ReturnType<Stores["namespaces"]["records"]>;

type OfNamespaces = Pick<KubeInputs, "meshNamespaces" | "namespaces" | "namespaceModes" | "namespaceEgress">;

/** What Namespaces say, made again only when one of them changed. */
function rememberLast(read: () => NamespaceRecords): () => OfNamespaces {
  let seen: NamespaceRecords | undefined;
  let made: OfNamespaces = { meshNamespaces: [], namespaces: [] };
  return () => {
    const records = read();
    if (records !== seen) {
      seen = records;
      made = {
        meshNamespaces: records.filter((record) => record.meshed).map((record) => record.name),
        namespaces: records.filter((record) => !record.terminating).map((record) => record.name),
        namespaceModes: records.flatMap(({ name, annotations }) => {
          const permissive = annotations[permissiveAnnotation];
          return permissive === undefined ? [] : [{ namespace: name, permissive }];
        }),
        namespaceEgress: records.flatMap(({ name, annotations }) => {
          const egress = annotations[egressAnnotation];
          return egress === undefined ? [] : [{ namespace: name, egress }];
        }),
      };
    }
    return made;
  };
}

function problemsOf(stores: Stores): readonly Problem[] {
  return Object.values(stores).flatMap((store) => store.problems());
}
