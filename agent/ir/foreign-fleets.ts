// Accounts of other fleets in policy: how a TrafficTarget names them, and what is said when their fleet is not federated with ours.
// Called by resolved-target.ts, build.ts and the parser of the annotation.
import { parseClusterName, parseFleetDomain, type FleetDomain } from "../../shared/ids.ts";
import { ok, rejected, type Problem, type Result } from "../../shared/result.ts";
import type { ForeignFleet, MeshInputs } from "./inputs.ts";
import { stage, topic, type Memory } from "./memo.ts";
import { compareText } from "./order.ts";

export interface ForeignSource {
  /** "*": every member of that fleet. */
  readonly cluster: string;
  readonly fleet: FleetDomain;
}

/** A trust domain of another fleet: its first label is the member, or `*` for all of them. */
export function parseForeignSource(text: string): Result<ForeignSource> {
  const dot = text.indexOf(".");
  const [first, rest] = [text.slice(0, Math.max(dot, 0)), text.slice(dot + 1)];
  const fleet = parseFleetDomain(rest);
  if (!fleet.ok) return fleet;
  if (first !== "*" && !parseClusterName(first).ok)
    return rejected("ISTHMUS_SOURCE_FLEETS", `"${text}" names no member`);
  return ok({ cluster: first, fleet: fleet.value });
}

const unknownTopic = topic<readonly Problem[]>("fleets that policy names");

/** Policy that names a fleet whose bundle nobody stated grants nothing, and is silent about it: so it is said. */
export function unknownFleets(memory: Memory, inputs: MeshInputs): readonly Problem[] {
  const { trafficTargets, fleetDomain, foreignFleets = noFleets } = inputs;
  return stage(memory, unknownTopic, [trafficTargets, fleetDomain, foreignFleets], () => {
    const known = new Set<string>(foreignFleets.map((fleet) => fleet.fleetDomain));
    return trafficTargets.flatMap(({ namespace, name, sourceFleets = [] }) =>
      sourceFleets.flatMap((text): readonly Problem[] => {
        const source = parseForeignSource(text);
        const fleet = source.ok ? source.value.fleet : "";
        if (known.has(fleet)) return [];
        const message =
          fleet === fleetDomain
            ? `${fleet} is this fleet: name its members in isthmus.dev/source-clusters`
            : `fleet "${fleet}" is not federated with this one, so "${text}" is granted nothing: isthmus federate ${fleet}`;
        const object = { kind: "TrafficTarget", namespace, name };
        return [
          { code: "ISTHMUS_SOURCE_FLEETS", message, object, field: "metadata.annotations[isthmus.dev/source-fleets]" },
        ];
      }),
    );
  });
}

const noFleets: readonly ForeignFleet[] = [];

export function sortedFleets(fleets: readonly ForeignFleet[]): readonly ForeignFleet[] {
  return [...fleets].sort((a, b) => compareText(a.fleetDomain, b.fleetDomain));
}
