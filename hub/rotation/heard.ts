// What the hub has heard of its members' trust since it started: the last report of every replica, by the hub's own clock. In
// memory only. Whoever can write to Redis must not be able to tell a rotation that everybody is ready; after a restart every
// agent reports again within ten seconds, and until then it counts as away.
import type { StatusReport, TrustReport } from "../../shared/grpc/fleet-messages.ts";
import type { MemberEvidence, ReplicaEvidence, RootUse } from "./evidence.ts";

/** Agents report every 10 s: whoever missed three is away. */
export const freshMs = 35_000;

interface LastReport {
  readonly report: StatusReport;
  readonly receivedAtMs: number;
}

export class Heard {
  readonly #reports = new Map<string, Map<string, LastReport>>();

  note(cluster: string, report: StatusReport, receivedAtMs: number): void {
    const replicas = this.#reports.get(cluster) ?? new Map<string, LastReport>();
    this.#reports.set(cluster, replicas.set(report.pod, { report, receivedAtMs }));
  }

  /** `rootIds`: fingerprint -> id, of the roots that the fleet knows. */
  evidenceOf(cluster: string, rootIds: ReadonlyMap<string, string>, nowMs: number): MemberEvidence {
    const replicas = this.#reports.get(cluster) ?? new Map<string, LastReport>();
    for (const [pod, { receivedAtMs }] of replicas) if (nowMs - receivedAtMs > freshMs) replicas.delete(pod);
    const reports = [...replicas.values()].map(({ report }) => report);
    return {
      cluster,
      replicas: reports.flatMap((report) => {
        const { trust } = report;
        return trust === undefined || trust === null ? [] : [replicaOf(report, trust, rootIds)];
      }),
      silent: reports.filter(({ trust }) => trust === undefined || trust === null).map(({ pod }) => pod),
    };
  }
}

function replicaOf(
  { pod, bundleSequence }: StatusReport,
  { proxies, unserved, svidTtlMs, roots }: TrustReport,
  rootIds: ReadonlyMap<string, string>,
): ReplicaEvidence {
  const known = roots.flatMap(({ root, ...use }): readonly [string, RootUse][] => {
    const id = rootIds.get(root);
    return id === undefined ? [] : [[id, use]];
  });
  return { pod, bundleSequence, proxies, unserved, svidTtlMs, roots: new Map(known) };
}
