// All meshed pods with what they serve. A Service that selects a pod opens its port before any slice lists it, so the sidecar is
// ready when the pod is. Kept list by list: one change costs a copy of some arrays and the few pods it concerns.
import type { Problem } from "../../shared/result.ts";
import { sharedInbound, workload, type InboundOf, type Workload } from "./inbound.ts";
import type { MeshInputs, PodInput, ServiceInput } from "./inputs.ts";
import { keepList, sameElements, stage, topic, type Memory } from "./memo.ts";
import { meshedPods, podIndexOf, rankOf, type PodIndex } from "./pod-index.ts";
import { selectorIndexOf, servicesSelecting, type SelectorIndex } from "./selectors.ts";
import type { Holding, LocalService } from "./services.ts";
import { share } from "./sharing.ts";
import type { WorkloadIr } from "./types.ts";

/** Lists are aligned: place by place of the meshed pods, which are sorted by namespace and name. */
interface WorkloadList {
  readonly index: PodIndex;
  readonly selectors: SelectorIndex;
  readonly services: readonly LocalService[];
  readonly pods: readonly PodInput[];
  readonly selecting: readonly (readonly ServiceInput[])[];
  readonly holdings: readonly (readonly Holding[])[];
  readonly built: readonly Workload[];
}

const listTopic = topic<WorkloadList>("workloads");
const resultTopic = topic<Workloads>("workloads and problems");
const unheld: readonly Holding[] = [];

function allHoldings(index: PodIndex, count: number, services: readonly LocalService[]): (readonly Holding[])[] {
  const all = new Array<readonly Holding[]>(count).fill(unheld);
  for (const holding of services.flatMap((service) => service.holdings)) {
    const alone = [holding];
    for (const pod of holding.pods) {
      const place = pod === undefined ? -1 : rankOf(index, pod);
      if (place < 0) continue;
      const known = all[place] ?? unheld;
      all[place] = known.length === 0 ? alone : [...known, holding];
    }
  }
  return all;
}

/** The last answer for a pod of this name: the very same if nothing it was made from changed. */
function again(next: Omit<WorkloadList, "built">, place: number, last: WorkloadList, inboundOf: InboundOf): Workload {
  const pod = next.pods[place] as PodInput;
  const selecting = next.selecting[place] ?? [];
  const holdings = next.holdings[place] ?? unheld;
  const before = rankOf(last.index, pod);
  const known = last.built[before];
  const same =
    last.pods[before] === pod &&
    sameElements(last.selecting[before] ?? [], selecting) &&
    sameElements(last.holdings[before] ?? unheld, holdings);
  return known !== undefined && same ? known : share(known, workload(pod, inboundOf(pod, selecting, holdings)));
}

function freshList(
  index: PodIndex,
  selectors: SelectorIndex,
  services: readonly LocalService[],
  last: WorkloadList | undefined,
): WorkloadList {
  const pods = meshedPods(index);
  const inboundOf = sharedInbound();
  const selecting = pods.map((pod) => servicesSelecting(pod, selectors));
  const holdings = allHoldings(index, pods.length, services);
  const next = { index, selectors, services, pods, selecting, holdings };
  const built = pods.map((pod, place) => {
    if (last !== undefined) return again(next, place, last, inboundOf);
    return workload(pod, inboundOf(pod, selecting[place] ?? [], holdings[place] ?? unheld));
  });
  return { ...next, built };
}

/** What Services that changed no longer hold is taken out, what they hold now put in; the places touched are added to `dirty`. */
function moveHoldings(
  last: WorkloadList,
  services: readonly LocalService[],
  dirty: Set<number>,
): (readonly Holding[])[] {
  const before = new Set(last.services);
  const after = new Set(services);
  const gone = last.services.filter((service) => !after.has(service)).flatMap((service) => service.holdings);
  const come = services.filter((service) => !before.has(service)).flatMap((service) => service.holdings);
  const holdings = [...last.holdings];
  const visit = (holding: Holding, change: (held: readonly Holding[]) => readonly Holding[]) => {
    for (const pod of holding.pods) {
      const place = pod === undefined ? -1 : rankOf(last.index, pod);
      if (place < 0) continue;
      dirty.add(place);
      holdings[place] = change(holdings[place] ?? unheld);
    }
  };
  for (const holding of gone) visit(holding, (held) => held.filter((one) => one !== holding));
  for (const holding of come) visit(holding, (held) => [...held, holding]);
  return holdings;
}

/** The same pods in the same places and the same selectors: only what changed, or is held by what changed, is looked at. */
function patchedList(index: PodIndex, services: readonly LocalService[], last: WorkloadList): WorkloadList {
  const dirty = new Set<number>();
  const pods = index === last.index ? last.pods : meshedPods(index);
  const selecting = [...last.selecting];
  pods.forEach((pod, place) => {
    if (pod === last.pods[place]) return;
    dirty.add(place);
    selecting[place] = servicesSelecting(pod, last.selectors);
  });
  const holdings = moveHoldings(last, services, dirty);
  const next = { index, selectors: last.selectors, services, pods, selecting, holdings };
  const inboundOf = sharedInbound();
  const built = [...last.built];
  for (const place of dirty) built[place] = again(next, place, last, inboundOf);
  return { ...next, built: keepList(last.built, built) };
}

export interface Workloads {
  readonly workloads: readonly WorkloadIr[];
  readonly problems: readonly Problem[];
}

/** Workloads of all meshed pods, by namespace and name. */
export function buildWorkloads(memory: Memory, inputs: MeshInputs, services: readonly LocalService[]): Workloads {
  const index = podIndexOf(memory, inputs);
  const selectors = selectorIndexOf(memory, inputs);
  const { built } = stage(memory, listTopic, [index, selectors, services], (_, last) =>
    last?.index.positions === index.positions && last.selectors === selectors
      ? patchedList(index, services, last)
      : freshList(index, selectors, services, last),
  );
  return stage(memory, resultTopic, [built], (_, last) => ({
    workloads: keepList(
      last?.workloads,
      built.map(({ ir }) => ir),
    ),
    problems: uniqueProblems(built.flatMap(({ problems }) => problems)),
  }));
}

/** All pods of a Deployment meet the same conflict: say it once for each Service. */
function uniqueProblems(problems: readonly Problem[]): readonly Problem[] {
  const seen = new Map<string, Problem>();
  for (const problem of problems) {
    const { object } = problem;
    seen.set(`${object === undefined ? "" : `${object.namespace ?? ""}/${object.name}`} ${problem.message}`, problem);
  }
  return [...seen.values()];
}
