// An SMI object as its record means it, in the version that is stored: what one member sends another. Everything else of the
// object (its labels, who made it and when) is its own cluster's.
import type { HttpRouteGroupInput, TcpRouteInput, TrafficSplitInput, TrafficTargetInput } from "../ir/inputs.ts";
import type { JsonObject } from "../kube/json.ts";
import { destinationPortAnnotation } from "./traffic-target.ts";
import { smiKinds, storedVersion, type SmiKindName } from "./versions.ts";

export interface PolicyInputs {
  readonly TrafficTarget: TrafficTargetInput;
  readonly HTTPRouteGroup: HttpRouteGroupInput;
  readonly TCPRoute: TcpRouteInput;
  readonly UDPRoute: TcpRouteInput;
  readonly TrafficSplit: TrafficSplitInput;
}

export const sourceClustersAnnotation = "isthmus.dev/source-clusters";

const specs: { readonly [K in SmiKindName]: (input: PolicyInputs[K]) => JsonObject } = {
  TrafficTarget: ({ destination, sources, rules }) => ({ destination, sources, rules }),
  HTTPRouteGroup: ({ matches }) => ({
    matches: matches.map(({ name, pathRegex, methods, headers }) => ({
      name,
      ...(pathRegex === "" ? {} : { pathRegex }),
      methods,
      // one map each: a name may be there twice
      headers: headers.map((header) => ({ [header.name]: header.valueRegex })),
    })),
  }),
  TCPRoute: ({ matches }) => ({ matches: onlyOne(matches) }),
  UDPRoute: ({ matches }) => ({ matches: onlyOne(matches) }),
  TrafficSplit: ({ service, backends, matches }) => ({ service, backends, matches }),
};

/** The schema has one; a site's manifest may have a list. */
function onlyOne<T>(matches: readonly T[]): T | readonly T[] {
  const [first] = matches;
  return matches.length === 1 && first !== undefined ? first : matches;
}

export function manifestOf<K extends SmiKindName>(kind: K, input: PolicyInputs[K]): JsonObject {
  const { namespace, name } = input;
  const annotations = kind === "TrafficTarget" ? targetAnnotations(input as TrafficTargetInput) : {};
  return {
    apiVersion: `${smiKinds[kind].group}/${storedVersion(kind)}`,
    kind,
    metadata: { namespace, name, ...(Object.keys(annotations).length > 0 && { annotations }) },
    spec: specs[kind](input),
  };
}

function targetAnnotations({ sourceClusters, destinationPort }: TrafficTargetInput): JsonObject {
  return {
    ...(sourceClusters.length > 0 && { [sourceClustersAnnotation]: sourceClusters.join(",") }),
    ...(destinationPort !== undefined && { [destinationPortAnnotation]: String(destinationPort) }),
  };
}
