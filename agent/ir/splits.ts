// TrafficSplits resolved: which shares of the calls to a root service go to which backends. Called by build.ts; status and `explain` read
// what comes out. A split grants nothing: whether a backend answers is the word of its TrafficTargets. A split that cannot be
// understood is not in force: calls then go to the root as they would without it, and its author is told.
import type { Problem } from "../../shared/result.ts";
import { resolveMatches } from "./http-matches.ts";
import type { HttpRouteGroupInput, MeshInputs, TrafficSplitInput } from "./inputs.ts";
import { compareText, objectKey } from "./order.ts";
import { protocolFamily } from "./protocols.ts";
import { parseServiceName } from "./service-names.ts";
import { standings, type NamedSplit, type Standing } from "./split-order.ts";
import type { HttpMatchIr, ServiceIr, ServicePortIr, SplitIr, SplitPortIr } from "./types.ts";

type ServicesByKey = ReadonlyMap<string, ServiceIr>;
type GroupsByKey = ReadonlyMap<string, HttpRouteGroupInput>;

interface Resolved<T> {
  readonly value: T;
  readonly problems: readonly Problem[];
}

export interface Splits {
  /** Sorted by the key of the root, which has one split at most. */
  readonly splits: readonly SplitIr[];
  readonly problems: readonly Problem[];
}

function problemOn(split: TrafficSplitInput, code: string, field: string, message: string): Problem {
  const { namespace, name } = split;
  return { code, message, object: { kind: "TrafficSplit", namespace, name }, field };
}

/** SMI: services beside their split. Else whoever may write in one namespace could lead another's calls elsewhere. */
function keyOf(text: string, { namespace }: TrafficSplitInput, services: ServicesByKey): string | undefined {
  const named = parseServiceName(text, namespace);
  if (named === undefined || named.namespace !== namespace) return undefined;
  const key = (scope: "cluster" | "fleet") => `${scope}/${namespace}/${named.name}`;
  if (named.scope !== undefined) return key(named.scope);
  return !services.has(key("cluster")) && services.has(key("fleet")) ? key("fleet") : key("cluster");
}

function foreign(split: TrafficSplitInput, field: string, service: string): Problem {
  const message = `"${service.slice(0, 253)}" is no Service of namespace "${split.namespace}": root and backends are beside their split; the split is not in force`;
  return problemOn(split, "ISTHMUS_SPLIT_NAMESPACE", field, message);
}

function namesOf(split: TrafficSplitInput, services: ServicesByKey): Resolved<NamedSplit | undefined> {
  const root = keyOf(split.service, split, services);
  const backends = split.backends.map(({ service }) => keyOf(service, split, services));
  const problems = [
    ...(root === undefined ? [foreign(split, "spec.service", split.service)] : []),
    ...split.backends.flatMap(({ service }, index) =>
      backends[index] === undefined ? [foreign(split, `spec.backends[${index}].service`, service)] : [],
    ),
  ];
  const known = backends.filter((backend) => backend !== undefined);
  const named = root === undefined || problems.length > 0 ? undefined : { split, root, backends: known };
  return { value: named, problems };
}

function refused({ split }: NamedSplit, standing: Standing): readonly Problem[] {
  if (standing.kind === "in-force") return [];
  if (standing.kind === "taken") {
    const message = `TrafficSplit "${objectKey(standing.by)}" splits this service already and is older: it stays in force, this one is not; a service has one split`;
    return [problemOn(split, "ISTHMUS_SPLIT_CONFLICT", "spec.service", message)];
  }
  const field = `spec.backends[${standing.backend}].service`;
  const by = standing.by.map((other) => `"${objectKey(other)}"`).join(", ");
  const why = by === "" ? "the root is its own backend" : `this backend leads back to the root by TrafficSplit ${by}`;
  return [problemOn(split, "ISTHMUS_SPLIT_CYCLE", field, `${why}: the split is not in force`)];
}

/** Of all groups together; a group that cannot be read matches nothing. */
function matchesOf(split: TrafficSplitInput, groups: GroupsByKey): Resolved<SplitIr["matches"]> {
  if (split.matches.length === 0) return { value: "all", problems: [] };
  const byText = new Map<string, HttpMatchIr>();
  const problems = split.matches.flatMap(({ kind, name }, index) => {
    const group = kind === "HTTPRouteGroup" ? groups.get(`${split.namespace}/${name}`) : undefined;
    if (group === undefined) {
      const message = `${kind} "${split.namespace}/${name}" does not exist or cannot be read: nothing matches by it, such requests go to the root service`;
      return [problemOn(split, "ISTHMUS_SPLIT_MATCH", `spec.matches[${index}].name`, message)];
    }
    for (const match of resolveMatches(group)) if (match !== undefined) byText.set(JSON.stringify(match), match);
    return [];
  });
  return { value: [...byText].sort(([a], [b]) => compareText(a, b)).map(([, match]) => match), problems };
}

/** What a backend has under the port of the root. */
function portOf(service: ServiceIr | undefined, { port, protocol }: ServicePortIr): ServicePortIr | undefined {
  const family = protocolFamily(protocol);
  return service?.ports.find((own) => own.port === port && protocolFamily(own.protocol) === family);
}

/** Undefined without a backend that has the port and a weight. */
function splitPort(
  { split, backends }: NamedSplit,
  port: ServicePortIr,
  services: ServicesByKey,
): Resolved<SplitPortIr | undefined> {
  const weights = new Map<string, number>();
  const without: number[] = [];
  for (const [index, key] of backends.entries()) {
    const service = services.get(key);
    if (portOf(service, port) !== undefined)
      weights.set(key, (weights.get(key) ?? 0) + (split.backends[index]?.weight ?? 0));
    // one that does not exist is said once for all ports, by missingBackends
    else if (service !== undefined) without.push(index);
  }
  const shares = [...weights].map(([service, weight]) => ({ service, weight }));
  shares.sort((a, b) => compareText(a.service, b.service));
  const inForce = shares.some(({ weight }) => weight > 0);
  const instead = inForce ? "it gets nothing, the others have its share" : "calls go to the root service";
  const problems = without.map((index) => {
    const written = split.backends[index]?.service ?? "";
    const message = `"${written}" has no port ${port.port} that is spoken like that of the root: on this port ${instead}`;
    return problemOn(split, "ISTHMUS_SPLIT_PORT", `spec.backends[${index}].service`, message);
  });
  return { value: inForce ? { port: port.port, backends: shares } : undefined, problems };
}

/** Legal: a split may come before its backends (SMI's own workflow), and then has to say so. */
function missingBackends(
  { split, backends }: NamedSplit,
  services: ServicesByKey,
  inForce: boolean,
): readonly Problem[] {
  const instead = inForce ? "the other backends have its share" : "calls go to the root service";
  return backends.flatMap((key, index) => {
    if (services.has(key)) return [];
    const message = `Service "${split.backends[index]?.service ?? ""}" does not exist in namespace "${split.namespace}" (yet): ${instead}`;
    return [problemOn(split, "ISTHMUS_SPLIT_BACKEND", `spec.backends[${index}].service`, message)];
  });
}

/** Of a split in force on no port: a mistake, unless a backend that is still to come brings a weight. */
function weightless({ split, backends }: NamedSplit, services: ServicesByKey): readonly Problem[] {
  if (backends.some((key, index) => !services.has(key) && (split.backends[index]?.weight ?? 0) > 0)) return [];
  const message = "no backend has a weight on any port of the root: calls go to the root service";
  return [problemOn(split, "ISTHMUS_SPLIT_WEIGHTS", "spec.backends", message)];
}

/** Raw TCP has no header to match: with `matches` it goes to the root. */
function splittable(port: ServicePortIr, matches: SplitIr["matches"]): boolean {
  return matches === "all" || protocolFamily(port.protocol) === "http";
}

function resolveSplit(named: NamedSplit, services: ServicesByKey, groups: GroupsByKey): Resolved<SplitIr | undefined> {
  const { split, root } = named;
  const service = services.get(root);
  if (service === undefined) {
    const message = `Service "${split.service}" does not exist in namespace "${split.namespace}", or is not in the mesh: there is nothing to split yet`;
    return { value: undefined, problems: [problemOn(split, "ISTHMUS_SPLIT_ROOT", "spec.service", message)] };
  }
  const matches = matchesOf(split, groups);
  const ports = service.ports
    .filter((port) => splittable(port, matches.value))
    .map((port) => splitPort(named, port, services));
  const origin = { kind: "TrafficSplit", namespace: split.namespace, name: split.name };
  const inForce = ports.flatMap(({ value }) => (value === undefined ? [] : [value]));
  return {
    value: inForce.length === 0 ? undefined : { origin, root, matches: matches.value, ports: inForce },
    problems: [
      ...missingBackends(named, services, inForce.length > 0),
      ...matches.problems,
      ...ports.flatMap(({ problems }) => problems),
      ...(ports.length > 0 && inForce.length === 0 ? weightless(named, services) : []),
    ],
  };
}

const none: Splits = { splits: [], problems: [] };

/** `services`: every service of the mesh as its clients see it. */
export function buildSplits(
  { trafficSplits, httpRouteGroups }: Pick<MeshInputs, "trafficSplits" | "httpRouteGroups">,
  services: readonly ServiceIr[],
): Splits {
  if (trafficSplits.length === 0) return none;
  const byKey = new Map(services.map((service) => [service.key, service]));
  const groups = new Map(httpRouteGroups.map((group) => [objectKey(group), group]));
  const named = trafficSplits.map((split) => namesOf(split, byKey));
  const stood = standings(named.flatMap(({ value }) => (value === undefined ? [] : [value])));
  const resolved = stood.map(({ named: one, standing }): Resolved<SplitIr | undefined> =>
    standing.kind === "in-force"
      ? resolveSplit(one, byKey, groups)
      : { value: undefined, problems: refused(one, standing) },
  );
  return {
    splits: resolved
      .flatMap(({ value }) => (value === undefined ? [] : [value]))
      .sort((a, b) => compareText(a.root, b.root)),
    problems: [...named, ...resolved].flatMap(({ problems }) => problems),
  };
}
