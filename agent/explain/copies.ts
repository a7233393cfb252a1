// What a change in another member would change here by way of copies (isthmus.dev/replicate), under the rules by which copies are made
// (ir/replicas.ts): whatever stands here and is nobody's copy wins, and of two authors the first by name. Pure.
import type { MeshInputs, PolicyInput } from "../ir/inputs.ts";
import { compareText, objectKey } from "../ir/order.ts";
import { believesPolicyOf, isMeantFor } from "../ir/replicas.ts";
import type { ObjectRef, Problem } from "../../shared/result.ts";
import type { TrialList, TrialObject } from "./trial.ts";

/** Exports are each member's own. */
const copied = {
  trafficTargets: "TrafficTarget",
  httpRouteGroups: "HTTPRouteGroup",
  tcpRoutes: "TCPRoute",
  udpRoutes: "UDPRoute",
  trafficSplits: "TrafficSplit",
} as const satisfies Partial<Record<TrialList, string>>;

type CopiedList = keyof typeof copied;

export interface Copies {
  readonly objects: readonly TrialObject[];
  readonly problems: readonly Problem[];
}

function isCopiedList(list: TrialList): list is CopiedList {
  return list in copied;
}

export function copiesOf(inputs: MeshInputs, author: string, objects: readonly TrialObject[]): Copies {
  if (!believesPolicyOf(inputs, author)) return { objects: [], problems: [] };
  const all = objects.flatMap(({ list, record, remove }): readonly Copies[] =>
    isCopiedList(list) ? [copyOf(inputs, author, { list, record, remove })] : [],
  );
  return { objects: all.flatMap((each) => each.objects), problems: all.flatMap((each) => each.problems) };
}

interface Authored {
  readonly list: CopiedList;
  readonly record: PolicyInput;
  readonly remove: boolean;
}

function copyOf(inputs: MeshInputs, author: string, { list, record, remove }: Authored): Copies {
  const { replicate, ...meaning } = record;
  const wanted = !remove && replicate !== undefined && isMeantFor(replicate, inputs.cluster);
  const place = objectKey(record);
  const standing: PolicyInput | undefined = inputs[list]?.find((each) => objectKey(each) === place);
  const from = standing?.replicatedFrom;
  if (!wanted) {
    const isItsCopy = from === author;
    return { objects: isItsCopy ? [{ list, record, remove: true }] : [], problems: [] };
  }
  const object = { kind: copied[list], namespace: record.namespace, name: record.name };
  if (standing !== undefined && from === undefined) return kept("ISTHMUS_REPLICA_LOCAL", object, author, "no copy");
  if (from !== undefined && compareText(from, author) < 0)
    return kept("ISTHMUS_REPLICA_TWICE", object, author, `${from}'s`);
  const copy: PolicyInput = { ...meaning, replicatedFrom: author };
  return { objects: [{ list, record: copy, remove: false }], problems: [] };
}

function kept(code: string, object: ObjectRef, author: string, whose: string): Copies {
  const message = `${author}'s object would not be copied here: the one that stands, ${whose}, stays in force`;
  return { objects: [], problems: [{ code, message, object }] };
}
