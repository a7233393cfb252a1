// TrafficTargets that name a service account which does not exist here: the commonest mistake in policy, and a silent one, because
// a grant for nobody looks like no grant. Said on the target; the grant itself stands, for the account may come later.
import type { Problem } from "../../shared/result.ts";
import type { MeshInputs, SubjectInput, TrafficTargetInput } from "./inputs.ts";
import { stage, topic, type Memory } from "./memo.ts";
import { objectKey } from "./order.ts";

const accountsTopic = topic<readonly Problem[]>("accounts that policy names");

export function missingAccounts(memory: Memory, { serviceAccounts, trafficTargets }: MeshInputs): readonly Problem[] {
  if (serviceAccounts === undefined) return [];
  return stage(memory, accountsTopic, [serviceAccounts, trafficTargets], () => {
    const known = new Set(serviceAccounts.map(objectKey));
    return trafficTargets.flatMap((target) => missingIn(target, known));
  });
}

function missingIn(target: TrafficTargetInput, known: ReadonlySet<string>): readonly Problem[] {
  const check = (subject: SubjectInput, field: string): readonly Problem[] => {
    const namespace = subject.namespace === "" ? target.namespace : subject.namespace;
    if (subject.kind !== "ServiceAccount" || known.has(objectKey({ namespace, name: subject.name }))) return [];
    const message = `service account "${namespace}/${subject.name}" does not exist in this cluster: a typing error, or made later; nobody has this identity now`;
    const { name } = target;
    const object = { kind: "TrafficTarget", namespace: target.namespace, name };
    return [{ code: "ISTHMUS_UNRESOLVED_ACCOUNT", message, object, field }];
  };
  // a source of other clusters is theirs to know
  const elsewhere = target.sourceClusters.length > 0 || (target.sourceFleets ?? []).length > 0;
  const sources = elsewhere ? [] : target.sources;
  return [
    ...check({ ...target.destination, namespace: target.namespace }, "spec.destination.name"),
    ...sources.flatMap((source, index) => check(source, `spec.sources[${index}].name`)),
  ];
}
