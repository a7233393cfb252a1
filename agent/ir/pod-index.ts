// Pods by name and by address, and which services select a pod. Built once per list of records (identity), because ten
// thousand pods are looked up on every build. Called by endpoints.ts and workloads.ts; plain loops, as this is the hot path.
import type { MeshInputs, PodInput, ServiceInput } from "./inputs.ts";
import { remember, tableOf, topic, type Memory } from "./memo.ts";
import { compareObjects, compareText } from "./order.ts";

export interface PodIndex {
  /** By namespace, then name. */
  readonly byName: ReadonlyMap<string, ReadonlyMap<string, PodInput>>;
  /** Best candidate first: pods on the host's network share an address, and a finished pod's may be in use again. */
  readonly byAddress: ReadonlyMap<string, readonly PodInput[]>;
  /** Meshed pods by namespace and name. */
  readonly meshed: readonly PodInput[];
  /** Position in `meshed`. */
  readonly positions: ReadonlyMap<PodInput, number>;
}

const podIndexes = topic<PodIndex>("pod index");

function rank(pod: PodInput): number {
  return (pod.meshed ? 4 : 0) + (pod.ready ? 2 : 0) + (pod.terminating ? 0 : 1);
}

function indexPods(pods: readonly PodInput[]): PodIndex {
  const byName = new Map<string, Map<string, PodInput>>();
  const byAddress = new Map<string, PodInput[]>();
  for (const pod of pods) {
    let names = byName.get(pod.namespace);
    if (names === undefined) byName.set(pod.namespace, (names = new Map<string, PodInput>()));
    names.set(pod.name, pod);
    if (pod.ip === "") continue;
    const there = byAddress.get(pod.ip);
    if (there === undefined) {
      byAddress.set(pod.ip, [pod]);
      continue;
    }
    there.push(pod);
    there.sort((a, b) => rank(b) - rank(a) || compareObjects(a, b));
  }
  const meshed = pods.filter((pod) => pod.meshed).sort(compareObjects);
  return { byName, byAddress, meshed, positions: new Map(meshed.map((pod, position) => [pod, position])) };
}

export function podIndexOf(memory: Memory, inputs: MeshInputs): PodIndex {
  return remember(tableOf(memory, podIndexes), inputs.pods, [], () => indexPods(inputs.pods));
}

/** Services by namespace and one pair of their selector: a pod then compares itself with few services instead of all. */
export type SelectorIndex = ReadonlyMap<string, ReadonlyMap<string, readonly ServiceInput[]>>;

const selectorIndexes = topic<SelectorIndex>("selector index");

function indexSelectors(services: readonly ServiceInput[]): SelectorIndex {
  const index = new Map<string, Map<string, ServiceInput[]>>();
  for (const service of [...services].sort(compareObjects)) {
    // the last label by name: `app` is often shared by many services, `tier`, `track` or `version` seldom
    const label = Object.keys(service.selector).sort(compareText).at(-1);
    if (label === undefined || service.type === "ExternalName") continue;
    const pair = `${label}=${service.selector[label] ?? ""}`;
    const pairs = index.get(service.namespace) ?? new Map<string, ServiceInput[]>();
    index.set(service.namespace, pairs);
    pairs.set(pair, [...(pairs.get(pair) ?? []), service]);
  }
  return index;
}

export function selectorIndexOf(memory: Memory, inputs: MeshInputs): SelectorIndex {
  return remember(tableOf(memory, selectorIndexes), inputs.services, [], () => indexSelectors(inputs.services));
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
