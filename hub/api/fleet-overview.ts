// What `isthmus status | clusters | services` show, put together from registry, members and reports. The CLI only prints it.
import type { StatusProblem } from "../../shared/grpc/fleet-messages.ts";
import type { Clock } from "../../shared/clock.ts";
import type { ServiceRecord } from "../../shared/registry.ts";
import type { Store } from "../store/open-store.ts";
import type { SigningProblem } from "./signing-watch.ts";
import type { StoredReport } from "../store/reports.ts";

/** Agents report every 10 s: three missed ones are a finding. */
const silentAfterMs = 35_000;

export type ClusterState = "connected" | "silent" | "joined" | "pending" | "revoked" | "left";

export interface ClusterOverview {
  readonly cluster: string;
  readonly state: ClusterState;
  readonly joinedAtMs: number;
  /** Age of the newest report; undefined when there never was one. */
  readonly reportAgeMs: number | undefined;
  readonly agentVersion: string;
  readonly agents: number;
  /** Changes of the registry that the agent has not applied yet. */
  readonly behind: number;
  readonly proxies: number;
  readonly gatewaysReady: number;
  readonly servicesExported: number;
  readonly servicesImported: number;
  readonly clusterCaNotAfterMs: number;
  readonly agentNotAfterMs: number;
  readonly problems: readonly StatusProblem[];
}

export interface FleetOverview {
  readonly fleetDomain: string;
  readonly hub: string;
  readonly version: string;
  readonly nowMs: number;
  readonly revision: number;
  readonly records: number;
  readonly redis: "connected" | "away";
  /** Older data in Redis waits for `isthmus confirm-restore`. */
  readonly restored: boolean;
  /** What is wrong with the authority that signs for the fleet. */
  readonly signing: readonly SigningProblem[];
  readonly clusters: readonly ClusterOverview[];
}

export interface ServiceOverview {
  readonly namespace: string;
  readonly name: string;
  readonly clusters: readonly {
    readonly cluster: string;
    readonly ports: readonly { readonly port: number; readonly ready: number; readonly total: number }[];
  }[];
}

export async function clusterOverviews({ live, reports }: Store, clock: Clock): Promise<readonly ClusterOverview[]> {
  const nowMs = clock.now();
  const revision = live.view?.revision ?? 0;
  const members = [...live.members.values()].sort((a, b) => (a.member.cluster < b.member.cluster ? -1 : 1));
  return Promise.all(
    members.map(async ({ member }) => {
      const stored = await reports.list(member.cluster, nowMs);
      const fresh = stored.filter(({ receivedAtMs }) => nowMs - receivedAtMs <= silentAfterMs);
      const newest = stored[0];
      const { report } = newest ?? {};
      const state = member.state === "accepted" ? liveness(newest, fresh) : member.state;
      return {
        cluster: member.cluster,
        state,
        joinedAtMs: member.joinedAtMs,
        reportAgeMs: newest === undefined ? undefined : nowMs - newest.receivedAtMs,
        agentVersion: report?.agentVersion ?? "",
        agents: fresh.length,
        behind: report === undefined ? 0 : Math.max(0, revision - report.appliedRevision),
        // every replica serves its own share of the sidecars; the rest of the report is the cluster's
        proxies: sum(fresh, ({ proxies }) => proxies),
        gatewaysReady: most(stored, ({ gatewaysReady }) => gatewaysReady),
        servicesExported: most(stored, ({ servicesExported }) => servicesExported),
        servicesImported: most(stored, ({ servicesImported }) => servicesImported),
        clusterCaNotAfterMs: most(stored, ({ clusterCaNotAfterMs }) => clusterCaNotAfterMs),
        agentNotAfterMs: most(stored, ({ agentNotAfterMs }) => agentNotAfterMs),
        problems: fresh.flatMap(({ report: { problems } }) => problems),
      };
    }),
  );
}

function liveness(newest: StoredReport | undefined, fresh: readonly StoredReport[]): ClusterState {
  if (newest === undefined) return "joined";
  return fresh.length > 0 ? "connected" : "silent";
}

function sum(reports: readonly StoredReport[], read: (report: StoredReport["report"]) => number): number {
  return reports.reduce((total, { report }) => total + read(report), 0);
}

function most(reports: readonly StoredReport[], read: (report: StoredReport["report"]) => number): number {
  return reports.reduce((highest, { report }) => Math.max(highest, read(report)), 0);
}

/** Exported services of the fleet with the capacity that every member has for them. */
export function serviceOverviews({ live }: Store): readonly ServiceOverview[] {
  const records = (live.view?.list() ?? []).map(({ record }) => record);
  const services = records.filter((record) => record.kind === "service");
  const capacities = new Map(
    records.filter((record) => record.kind === "capacity").map((record) => [placeOf(record), record.ports]),
  );
  const byName = Map.groupBy(services, ({ namespace, name }) => `${namespace}/${name}`);
  return [...byName.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, exporters]) => ({
      namespace: exporters[0]?.namespace ?? "",
      name: exporters[0]?.name ?? "",
      clusters: exporters
        .map((service) => ({ cluster: service.cluster, ports: portsOf(service, capacities.get(placeOf(service))) }))
        .sort((a, b) => (a.cluster < b.cluster ? -1 : 1)),
    }));
}

function placeOf({ cluster, namespace, name }: { cluster: string; namespace: string; name: string }): string {
  return `${cluster}/${namespace}/${name}`;
}

type Ports = ServiceOverview["clusters"][number]["ports"];

function portsOf(service: ServiceRecord, capacity: Ports | undefined): Ports {
  return service.ports.map(({ port }) => {
    const found = capacity?.find((entry) => entry.port === port);
    return { port, ready: found?.ready ?? 0, total: found?.total ?? 0 };
  });
}
