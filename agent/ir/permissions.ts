// All TrafficTargets as grants: they are ORed, so no target can take away what another gives. Incremental: a target is resolved again when
// it or a route that it names is another record.
import type { Problem } from "../../shared/result.ts";
import type { MeshInputs, TrafficTargetInput } from "./inputs.ts";
import { followGrants } from "./grants.ts";
import { sameElements, stage, topic, type Memory } from "./memo.ts";
import { compareObjects, objectKey, sortedAfter } from "./order.ts";
import { resolveTarget, type ResolvedTarget, type RouteIndex } from "./resolved-target.ts";
import { share } from "./sharing.ts";
import type { GrantIr } from "./types.ts";

function indexBy<T extends { readonly namespace: string; readonly name: string }>(
  objects: readonly T[],
): ReadonlyMap<string, T> {
  return new Map(objects.map((object) => [objectKey(object), object]));
}

function referencesOf(target: TrafficTargetInput, routes: RouteIndex): readonly unknown[] {
  return target.rules.map((rule) => {
    const key = `${target.namespace}/${rule.name}`;
    if (rule.kind === "UDPRoute") return routes.udpRoutes?.has(key);
    return rule.kind === "TCPRoute" ? routes.tcpRoutes.get(key) : routes.httpRouteGroups.get(key);
  });
}

interface Grants {
  readonly grants: readonly GrantIr[];
  readonly problems: readonly Problem[];
}

/** What a target became, with the routes that it named: as long as these are the same records, so is the grant. */
interface Known {
  readonly references: readonly unknown[];
  readonly resolved: ResolvedTarget;
}

interface KnownTargets {
  readonly cluster: string;
  readonly routes: RouteIndex;
  /** In the order of namespace and name. */
  readonly byRecord: ReadonlyMap<TrafficTargetInput, Known>;
}

const routesTopic = topic<RouteIndex>("routes that targets name");
const orderTopic = topic<readonly TrafficTargetInput[]>("targets in order");
const knownTopic = topic<KnownTargets>("resolved targets");
const grantsTopic = topic<Grants>("grants");

function resolveAll(
  targets: readonly TrafficTargetInput[],
  routes: RouteIndex,
  cluster: string,
  before: KnownTargets | undefined,
): KnownTargets {
  const last = before?.cluster === cluster ? before : undefined;
  let byKey: ReadonlyMap<string, Known> | undefined;
  const lastOf = (target: TrafficTargetInput) => {
    byKey ??= new Map([...(last?.byRecord ?? [])].map(([record, known]) => [objectKey(record), known]));
    return byKey.get(objectKey(target))?.resolved;
  };
  const byRecord = new Map<TrafficTargetInput, Known>();
  for (const target of targets) {
    const known = last?.byRecord.get(target);
    // an unchanged record costs one look, and one more for its routes when some route changed
    if (
      known !== undefined &&
      (last?.routes === routes || sameElements(known.references, referencesOf(target, routes)))
    ) {
      byRecord.set(target, known);
      continue;
    }
    const resolved = share(lastOf(target), resolveTarget(target, routes, cluster));
    byRecord.set(target, { references: referencesOf(target, routes), resolved });
  }
  return { cluster, routes, byRecord };
}

/** All grants by namespace and name of their target. */
export function buildGrants(memory: Memory, inputs: MeshInputs): Grants {
  const { cluster, trafficTargets, httpRouteGroups, tcpRoutes, udpRoutes } = inputs;
  const routes = stage(memory, routesTopic, [httpRouteGroups, tcpRoutes, udpRoutes], () => ({
    httpRouteGroups: indexBy(httpRouteGroups),
    tcpRoutes: indexBy(tcpRoutes),
    udpRoutes: udpRoutes && indexBy(udpRoutes),
  }));
  const ordered = stage(memory, orderTopic, [trafficTargets], (_, last) =>
    sortedAfter(last, trafficTargets, compareObjects),
  );
  const known = stage(memory, knownTopic, [cluster, routes, ordered], (_, last) =>
    resolveAll(ordered, routes, cluster, last),
  );
  return stage(memory, grantsTopic, [known], (_, last) => {
    const resolved = [...known.byRecord.values()].map((each) => each.resolved);
    const grants = resolved.flatMap(({ value }) => (value === undefined ? [] : [value]));
    followGrants(last?.grants, grants);
    return { grants, problems: resolved.flatMap(({ problems }) => problems) };
  });
}
