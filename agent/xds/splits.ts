// What a TrafficSplit makes of the port of its root, as clients see it: the calls that it matches go to the backends' clusters. Called by
// service-ports. A weight is in RDS, or for raw TCP in ECDS, never in a chain or a cluster: nothing drains, and open connections stay.
// It must grant nothing: a backend that the caller may not reach is in the client's configuration, and its server answers 403.
import type { HttpMatchIr, SplitIr } from "../ir/types.ts";
import { latest, type LatestOf } from "./remembered.ts";
import type { PortView } from "./service-ports.ts";
import { dividedShares, type Share } from "./shares.ts";

export interface PortSplit {
  readonly matches: "all" | readonly HttpMatchIr[];
  readonly shares: readonly Share[];
  /** Those with a weight of 0 too: the weight may rise without a new cluster. */
  readonly backends: readonly PortView[];
}

export type SplitPorts = ReadonlyMap<PortView, PortSplit>;

function portKey(service: string, port: number): string {
  return `${service}|${port}`;
}

const portSplits: LatestOf<PortSplit> = new WeakMap();

/** The splits in force, by the view of the root's port. */
export function splitPorts(splits: readonly SplitIr[], views: readonly PortView[]): SplitPorts {
  if (splits.length === 0) return new Map();
  const byPort = new Map(views.map((view) => [portKey(view.service.key, view.port.port), view]));
  const found = new Map<PortView, PortSplit>();
  for (const split of splits) {
    for (const { port, backends } of split.ports) {
      const root = byPort.get(portKey(split.root, port));
      const parts = backends.flatMap(({ service, weight }) => {
        const view = byPort.get(portKey(service, port));
        return view === undefined ? [] : [{ view, weight }];
      });
      if (root === undefined || parts.length === 0) continue;
      const needs = [split, ...parts.map(({ view }) => view)];
      const make = () => ({
        matches: split.matches,
        shares: dividedShares(parts.map(({ view, weight }) => ({ weight, shares: view.asBackend }))),
        backends: parts.map(({ view }) => view),
      });
      found.set(root, latest(portSplits, root, needs, make));
    }
  }
  return found;
}
