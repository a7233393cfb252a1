// Which Services select a pod. Indexed by one pair of each selector, so that a pod compares itself with few Services instead of
// all. Called by workloads.ts.
import type { MeshInputs, PodInput, ServiceInput } from "./inputs.ts";
import { stage, topic, type Memory } from "./memo.ts";
import { compareObjects, compareText } from "./order.ts";

/** By namespace, then `label=value`. */
export type SelectorIndex = ReadonlyMap<string, ReadonlyMap<string, readonly ServiceInput[]>>;

const selectorTopic = topic<SelectorIndex>("selectors");

function indexSelectors(services: readonly ServiceInput[]): SelectorIndex {
  const index = new Map<string, Map<string, ServiceInput[]>>();
  for (const service of [...services].sort(compareObjects)) {
    // the last label by name: `app` is often shared by many services, `tier`, `track` or `version` seldom
    const label = Object.keys(service.selector).sort(compareText).at(-1);
    if (label === undefined || service.type === "ExternalName") continue;
    const pair = `${label}=${service.selector[label] ?? ""}`;
    const pairs = index.get(service.namespace) ?? new Map<string, ServiceInput[]>();
    index.set(service.namespace, pairs);
    const there = pairs.get(pair);
    if (there === undefined) pairs.set(pair, [service]);
    else there.push(service);
  }
  return index;
}

export function selectorIndexOf(memory: Memory, inputs: MeshInputs): SelectorIndex {
  return stage(memory, selectorTopic, [inputs.services], () => indexSelectors(inputs.services));
}

function selects(service: ServiceInput, pod: PodInput): boolean {
  for (const label in service.selector) if (pod.labels[label] !== service.selector[label]) return false;
  return true;
}

const none: readonly ServiceInput[] = [];

/** Services of the pod's namespace whose selector matches it, by name. */
export function servicesSelecting(pod: PodInput, index: SelectorIndex): readonly ServiceInput[] {
  const pairs = index.get(pod.namespace);
  if (pairs === undefined) return none;
  let found: ServiceInput[] | undefined;
  for (const label in pod.labels) {
    const candidates = pairs.get(`${label}=${pod.labels[label] ?? ""}`);
    if (candidates === undefined) continue;
    for (const service of candidates) {
      if (selects(service, pod)) (found ??= []).push(service);
    }
  }
  if (found === undefined) return none;
  return found.length === 1 ? found : found.sort(compareObjects);
}
