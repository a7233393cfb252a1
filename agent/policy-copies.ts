// The copies of other members' SMI objects on a site, which has no API server to put them into: added to what its manifests
// say, read by the same parsers, under the rule that a manifest of the site's own wins. Made once by member.ts.
import type { PolicyRecord } from "../shared/registry.ts";
import type { Problem, Result } from "../shared/result.ts";
import {
  incomingPolicies,
  listOfKind,
  policiesOf,
  policyKinds,
  type IncomingPolicy,
  type ReplicaSources,
} from "./ir/replicas.ts";
import type { PolicyInput } from "./ir/inputs.ts";
import { keepList } from "./ir/memo.ts";
import { objectKey } from "./ir/order.ts";
import { fieldOf, isObject, type JsonObject } from "./kube/json.ts";
import { parseHttpRouteGroup } from "./kube/parse/http-route-group.ts";
import { labelName } from "./kube/parse/metadata.ts";
import { managedByUs } from "./kube/parse/service-import.ts";
import { parseTcpRoute } from "./kube/parse/tcp-route.ts";
import { parseTrafficSplit } from "./kube/parse/traffic-split.ts";
import { parseTrafficTarget } from "./kube/parse/traffic-target.ts";
import type { PlatformInputs } from "./platform.ts";
import type { SmiKindName } from "./smi/versions.ts";

export interface PolicyCopies {
  /** The same lists as long as neither the site's nor the copies changed. */
  added(inputs: PlatformInputs, sources: ReplicaSources): PlatformInputs;
  /** Of copies that cannot be read. */
  problems(): readonly Problem[];
}

const parsers: { readonly [K in SmiKindName]: (object: unknown) => Result<PolicyInput | undefined> } = {
  TrafficTarget: parseTrafficTarget,
  HTTPRouteGroup: parseHttpRouteGroup,
  TCPRoute: parseTcpRoute,
  UDPRoute: parseTcpRoute,
  TrafficSplit: parseTrafficSplit,
};
/** A copy says nothing about its age. */
const NO_TIME = "1970-01-01T00:00:00Z";

export function createPolicyCopies(): PolicyCopies {
  const read = new WeakMap<PolicyRecord, Result<PolicyInput | undefined>>();
  const lastLists = new Map<SmiKindName, readonly PolicyInput[]>();
  let problems: readonly Problem[] = [];
  const readOnce = (record: IncomingPolicy) => {
    const known = read.get(record) ?? readCopy(record);
    read.set(record, known);
    return known;
  };
  return {
    problems: () => problems,
    added: (inputs, sources) => {
      const { taken } = incomingPolicies(sources);
      const results = [...taken.values()].map((record) => ({ record, result: readOnce(record) }));
      problems = results.flatMap(({ record, result }) => (result.ok ? [] : result.error.map(unreadable(record))));
      const lists = policyKinds.map((kind) => {
        const own = policiesOf(inputs, kind);
        const named = new Set(own.map(objectKey));
        const copies = results.flatMap(({ record, result }) =>
          record.policyKind === kind && result.ok && result.value !== undefined && !named.has(objectKey(result.value))
            ? [result.value]
            : [],
        );
        const list = copies.length === 0 ? own : keepList(lastLists.get(kind), [...own, ...copies]);
        lastLists.set(kind, list);
        return [listOfKind[kind], list] as const;
      });
      return { ...inputs, ...Object.fromEntries(lists) };
    },
  };
}

function readCopy({ manifest, ...record }: IncomingPolicy): Result<PolicyInput | undefined> {
  const { policyKind: kind, namespace, name, cluster } = record;
  const given = parsed(manifest);
  const labels = { [labelName.replicatedFrom]: cluster, [labelName.managedBy]: managedByUs };
  const annotations = fieldOf(given, "metadata", "annotations");
  const metadata = {
    namespace,
    name,
    creationTimestamp: NO_TIME,
    labels,
    ...(isObject(annotations) && { annotations }),
  };
  return parsers[kind]({ ...given, kind, metadata });
}

function parsed(text: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

function unreadable({ policyKind, namespace, name, cluster }: IncomingPolicy) {
  return ({ message, field }: Problem): Problem => ({
    code: "ISTHMUS_REPLICA_INVALID",
    message: `the copy of ${cluster}'s object cannot be read: ${field ?? ""} ${message}`,
    object: { kind: policyKind, namespace, name },
  });
}
