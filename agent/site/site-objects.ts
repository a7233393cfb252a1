// All objects of a site, by kind, from all its files. One object of a name: the first file in order has it, and whoever wrote
// the other reads where both are. Pure; arrays keep their identity while nothing in them changed.
import type { Problem } from "../../shared/result.ts";
import { shareList } from "../ir/sharing.ts";
import type { ManifestFile, PlacedObject } from "./manifest-file.ts";
import type { SiteKind, SiteObject, SiteRecords } from "./site-object.ts";

export type RecordLists = { readonly [K in SiteKind]: readonly SiteRecords[K][] };

export interface SiteObjects {
  readonly records: RecordLists;
  readonly problems: readonly Problem[];
  /** By `kind namespace/name`. */
  readonly places: ReadonlyMap<string, PlacedObject>;
}

export const noObjects: SiteObjects = {
  records: {
    Namespace: [],
    Service: [],
    EndpointSlice: [],
    ServiceExport: [],
    TrafficTarget: [],
    HTTPRouteGroup: [],
    TCPRoute: [],
    UDPRoute: [],
    TrafficSplit: [],
    MeshConfig: [],
    Workload: [],
  },
  problems: [],
  places: new Map(),
};

export function collectObjects(files: readonly ManifestFile[], last: SiteObjects): SiteObjects {
  const places = new Map<string, PlacedObject>();
  const problems = files.flatMap((file) => file.problems);
  for (const placed of files.flatMap((file) => file.objects)) {
    const key = placeKey(placed.object.kind, placed.object.record?.namespace ?? "", placed.object.record?.name ?? "");
    const first = places.get(key);
    if (first === undefined) places.set(key, placed);
    else problems.push(claimedTwice(key, first, placed));
  }
  const of = <K extends SiteKind>(kind: K) => recordsOf(kind, places, last.records[kind]);
  const records: RecordLists = {
    Namespace: of("Namespace"),
    Service: of("Service"),
    EndpointSlice: of("EndpointSlice"),
    ServiceExport: of("ServiceExport"),
    TrafficTarget: of("TrafficTarget"),
    HTTPRouteGroup: of("HTTPRouteGroup"),
    TCPRoute: of("TCPRoute"),
    UDPRoute: of("UDPRoute"),
    TrafficSplit: of("TrafficSplit"),
    MeshConfig: of("MeshConfig"),
    Workload: of("Workload"),
  };
  return { records, problems, places };
}

function recordsOf<K extends SiteKind>(
  kind: K,
  places: ReadonlyMap<string, PlacedObject>,
  last: readonly SiteRecords[K][],
): readonly SiteRecords[K][] {
  const found = [...places.values()].flatMap(({ object }) => (isOfKind(object, kind) ? [object.record] : []));
  return shareList(last, found, (record) => `${record.namespace}/${record.name}`);
}

function isOfKind<K extends SiteKind>(
  object: SiteObject,
  kind: K,
): object is SiteObject & { readonly record: SiteRecords[K] } {
  return object.kind === kind && object.record !== undefined;
}

export function placeKey(kind: string, namespace: string, name: string): string {
  return `${kind} ${namespace}/${name}`;
}

function claimedTwice(key: string, first: PlacedObject, second: PlacedObject): Problem {
  const where = `${second.file}:${second.line}`;
  return {
    code: "ISTHMUS_MANIFEST_TWICE",
    message: `${where}: ${key} is declared in ${first.file}:${first.line} already; that one is in force: rename one of them`,
  };
}

/** The same problem as its author finds it: with the file and the line of the field. */
export function located(places: SiteObjects["places"], problem: Problem): Problem {
  const { object, field, message } = problem;
  const place =
    object === undefined ? undefined : places.get(placeKey(object.kind, object.namespace ?? "", object.name));
  if (place === undefined) return problem;
  return { ...problem, message: `${place.file}:${place.lineOf(field ?? "")}: ${message}` };
}
