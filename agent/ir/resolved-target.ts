// One TrafficTarget resolved into a grant: principal AND port AND match. A reference that does not resolve is a problem on the target, and
// its rule grants nothing. It must fail closed: a restriction that cannot be read never becomes "no restriction". Called by permissions.ts.
import { parseClusterName } from "../../shared/ids.ts";
import type { Problem } from "../../shared/result.ts";
import type { HttpRouteGroupInput, SubjectInput, TcpRouteInput, TrafficTargetInput } from "./inputs.ts";
import { parseForeignSource } from "./foreign-fleets.ts";
import { resolveMatches } from "./http-matches.ts";
import { compareText } from "./order.ts";
import type { GrantIr, HttpMatchIr, SourceIr } from "./types.ts";

type Rule = TrafficTargetInput["rules"][number];

export interface RouteIndex {
  readonly httpRouteGroups: ReadonlyMap<string, HttpRouteGroupInput>;
  readonly tcpRoutes: ReadonlyMap<string, TcpRouteInput>;
  /** Absent: not known. */
  readonly udpRoutes?: ReadonlyMap<string, TcpRouteInput> | undefined;
}

interface Resolved<T> {
  readonly value: T;
  readonly problems: readonly Problem[];
}

export type ResolvedTarget = Resolved<GrantIr | undefined>;

function problemOn(target: TrafficTargetInput, code: string, field: string, message: string): Problem {
  return { code, message, object: { kind: "TrafficTarget", namespace: target.namespace, name: target.name }, field };
}

/** SMI: the target lives beside its destination, else anybody could open anybody's workload. */
function checkDestination(target: TrafficTargetInput): readonly Problem[] {
  const { kind, namespace } = target.destination;
  if (kind !== "ServiceAccount") {
    const message = `destination kind "${kind}" is not supported, use ServiceAccount; the target grants nothing`;
    return [problemOn(target, "ISTHMUS_DESTINATION_KIND", "spec.destination.kind", message)];
  }
  if (namespace !== "" && namespace !== target.namespace) {
    const message = `destination is in namespace "${namespace}" but the target in "${target.namespace}": move the target there; it grants nothing`;
    return [problemOn(target, "ISTHMUS_DESTINATION_NAMESPACE", "spec.destination.namespace", message)];
  }
  return [];
}

function sourceClusters(target: TrafficTargetInput, localCluster: string): Resolved<readonly string[]> {
  // one that names other fleets alone is about those
  const otherFleetsAlone = (target.sourceFleets ?? []).length > 0;
  if (target.sourceClusters.length === 0) return { value: otherFleetsAlone ? [] : [localCluster], problems: [] };
  if (target.sourceClusters.includes("*")) return { value: ["*"], problems: [] };
  const invalid = target.sourceClusters.filter((name) => !parseClusterName(name).ok);
  return {
    value: target.sourceClusters.filter((name) => !invalid.includes(name)),
    problems: invalid.map((name) =>
      problemOn(
        target,
        "ISTHMUS_SOURCE_CLUSTERS",
        "metadata.annotations[isthmus.dev/source-clusters]",
        `"${name}" is not a cluster name; write names separated by commas, or "*" alone`,
      ),
    ),
  };
}

function compareSources(a: SourceIr, b: SourceIr): number {
  return (
    compareText(a.namespace, b.namespace) ||
    compareText(a.serviceAccount, b.serviceAccount) ||
    compareText(a.fleet ?? "", b.fleet ?? "") ||
    compareText(a.cluster, b.cluster)
  );
}

function sourcesOf(target: TrafficTargetInput, localCluster: string): Resolved<readonly SourceIr[]> {
  const clusters = sourceClusters(target, localCluster);
  const unsupported = (source: SubjectInput) => source.kind !== "ServiceAccount";
  const byKey = new Map<string, SourceIr>();
  for (const source of target.sources) {
    if (unsupported(source)) continue;
    const namespace = source.namespace === "" ? target.namespace : source.namespace;
    const account = { namespace, serviceAccount: source.name };
    for (const cluster of clusters.value) byKey.set(`${cluster}/${namespace}/${source.name}`, { ...account, cluster });
    for (const text of target.sourceFleets ?? []) {
      const foreign = parseForeignSource(text);
      if (foreign.ok) byKey.set(`${text}/${namespace}/${source.name}`, { ...account, ...foreign.value });
    }
  }
  const problems = target.sources.flatMap((source, index) => {
    if (!unsupported(source)) return [];
    const message = `source kind "${source.kind}" is not supported, use ServiceAccount; this source is granted nothing`;
    return [problemOn(target, "ISTHMUS_SOURCE_KIND", `spec.sources[${index}].kind`, message)];
  });
  return { value: [...byKey.values()].sort(compareSources), problems: [...clusters.problems, ...problems] };
}

function unresolved(target: TrafficTargetInput, rule: Rule, index: number): Problem {
  const message = `${rule.kind} "${target.namespace}/${rule.name}" does not exist or cannot be read; this rule grants nothing`;
  return problemOn(target, "ISTHMUS_UNRESOLVED_RULE", `spec.rules[${index}].name`, message);
}

function checkMatchNames(
  target: TrafficTargetInput,
  index: number,
  route: { readonly matches: readonly { name: string }[] },
): readonly Problem[] {
  const rule = target.rules[index];
  if (rule === undefined) return [];
  return rule.matches.flatMap((name, position) => {
    if (route.matches.some((match) => match.name === name)) return [];
    const message = `${rule.kind} "${target.namespace}/${rule.name}" has no match "${name}"; it grants nothing`;
    return [problemOn(target, "ISTHMUS_UNRESOLVED_MATCH", `spec.rules[${index}].matches[${position}]`, message)];
  });
}

/** Chosen by name; omitted means all (SMI; OSM granted nothing then). */
function chosen<M extends { readonly name: string }>(rule: Rule, matches: readonly M[]): readonly M[] {
  return rule.matches.length === 0 ? matches : matches.filter((match) => rule.matches.includes(match.name));
}

/** Ports of all TCPRoutes: undefined when there is no TCPRoute, [] for any port, "none" when none of them resolves. */
function portsOf(target: TrafficTargetInput, routes: RouteIndex): Resolved<readonly number[] | "none" | undefined> {
  const problems: Problem[] = [];
  const ports = new Set<number>();
  let any = false;
  for (const [index, rule] of target.rules.entries()) {
    if (rule.kind !== "TCPRoute") continue;
    const route = routes.tcpRoutes.get(`${target.namespace}/${rule.name}`);
    if (route === undefined) {
      problems.push(unresolved(target, rule, index));
      continue;
    }
    problems.push(...checkMatchNames(target, index, route));
    const matches = chosen(rule, route.matches);
    // specs v1alpha1-3 have no matches at all: the bare TCPRoute means every port
    any ||= route.matches.length === 0 ? rule.matches.length === 0 : matches.some((match) => match.ports.length === 0);
    for (const port of matches.flatMap((match) => match.ports)) ports.add(port);
  }
  if (!target.rules.some((rule) => rule.kind === "TCPRoute")) return { value: undefined, problems };
  if (any) return { value: [], problems };
  return { value: ports.size === 0 ? "none" : [...ports].sort((a, b) => a - b), problems };
}

/** An older version's destination names one port: it restricts what the rules open, and opens nothing by itself. */
function withinDestinationPort(
  target: TrafficTargetInput,
  ports: readonly number[] | "none" | undefined,
): readonly number[] | "none" {
  const { destinationPort } = target;
  if (destinationPort === undefined || ports === "none") return ports ?? [];
  return ports === undefined || ports.length === 0 || ports.includes(destinationPort) ? [destinationPort] : "none";
}

/** Matches of all HTTPRouteGroups: undefined when there is none; [] when none of them resolves. */
function httpOf(target: TrafficTargetInput, routes: RouteIndex): Resolved<readonly HttpMatchIr[] | undefined> {
  const problems: Problem[] = [];
  const byText = new Map<string, HttpMatchIr>();
  target.rules.forEach((rule, index) => {
    if (rule.kind !== "HTTPRouteGroup") return;
    const group = routes.httpRouteGroups.get(`${target.namespace}/${rule.name}`);
    if (group === undefined) {
      problems.push(unresolved(target, rule, index));
      return;
    }
    problems.push(...checkMatchNames(target, index, group));
    const wanted = chosen(rule, group.matches);
    resolveMatches(group).forEach((match, position) => {
      const written = group.matches[position];
      if (match !== undefined && written !== undefined && wanted.includes(written))
        byText.set(JSON.stringify(match), match);
    });
  });
  if (!target.rules.some((rule) => rule.kind === "HTTPRouteGroup")) return { value: undefined, problems };
  return { value: [...byText.entries()].sort(([a], [b]) => compareText(a, b)).map(([, match]) => match), problems };
}

function checkRuleKinds(target: TrafficTargetInput, { udpRoutes }: RouteIndex): readonly Problem[] {
  return target.rules.flatMap((rule, index) => {
    if (rule.kind === "HTTPRouteGroup" || rule.kind === "TCPRoute") return [];
    const field = `spec.rules[${index}].kind`;
    if (rule.kind === "UDPRoute") {
      const missing = udpRoutes?.has(`${target.namespace}/${rule.name}`) === false;
      return [
        ...(missing ? [unresolved(target, rule, index)] : []),
        problemOn(
          target,
          "ISTHMUS_UDP_NOT_ENFORCED",
          field,
          "UDP does not pass the sidecar: this rule is accepted, but not enforced on the wire",
        ),
      ];
    }
    return [
      problemOn(
        target,
        "ISTHMUS_RULE_KIND",
        field,
        `rule kind "${rule.kind}" is not supported, use HTTPRouteGroup or TCPRoute; it grants nothing`,
      ),
    ];
  });
}

/** One target to one grant. A target with both kinds of rule grants port AND match; one with TCPRoutes alone also opens HTTP there. */
export function resolveTarget(target: TrafficTargetInput, routes: RouteIndex, localCluster: string): ResolvedTarget {
  const fatal = checkDestination(target);
  if (fatal.length > 0) return { value: undefined, problems: fatal };
  const sources = sourcesOf(target, localCluster);
  const ports = portsOf(target, routes);
  const http = httpOf(target, routes);
  const problems = [...sources.problems, ...checkRuleKinds(target, routes), ...ports.problems, ...http.problems];
  const opened = withinDestinationPort(target, ports.value);
  if (opened === "none" || sources.value.length === 0) return { value: undefined, problems };
  // HTTP alone, and no match of it resolves
  if (ports.value === undefined && (http.value ?? []).length === 0) return { value: undefined, problems };
  const grant: GrantIr = {
    origin: { kind: "TrafficTarget", namespace: target.namespace, name: target.name },
    sources: sources.value,
    destinationNamespace: target.namespace,
    destinationServiceAccount: target.destination.name,
    ports: opened,
    http: http.value ?? "any",
  };
  return { value: ports.value === undefined ? grant : { ...grant, tcp: true }, problems };
}
