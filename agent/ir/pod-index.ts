// Pods by name and by address. Kept by position in the list of records, so that a list in which a few records were replaced
// (a readiness, a label) costs those few: ten thousand pods are looked up on every build. Called by services.ts and
// workloads.ts; plain loops, as this is the hot path.
import type { MeshInputs, PodInput } from "./inputs.ts";
import { stage, topic, type Memory } from "./memo.ts";
import { compareObjects } from "./order.ts";

/** The very object of the index before as long as no pod came, went or changed name, address or sidecar. */
interface PodPositions {
  /** By namespace, then name. */
  readonly byName: ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** Best candidate first: pods on the host's network share an address, and a finished pod's may be in use again. */
  readonly byAddress: ReadonlyMap<string, readonly number[]>;
  /** Meshed pods, by namespace and name. */
  readonly meshed: readonly number[];
  /** For each position its place in `meshed`, or -1. */
  readonly ranks: readonly number[];
}

export interface PodIndex {
  readonly pods: readonly PodInput[];
  readonly positions: PodPositions;
}

export function podByName(index: PodIndex, namespace: string, name: string): PodInput | undefined {
  const position = index.positions.byName.get(namespace)?.get(name);
  return position === undefined ? undefined : index.pods[position];
}

export function podsByAddress(index: PodIndex, address: string): readonly PodInput[] {
  const positions = index.positions.byAddress.get(address) ?? [];
  return positions.flatMap((position) => index.pods[position] ?? []);
}

/** Place among the meshed pods, or -1. */
export function rankOf(index: PodIndex, pod: PodInput): number {
  const position = index.positions.byName.get(pod.namespace)?.get(pod.name);
  return position === undefined ? -1 : (index.positions.ranks[position] ?? -1);
}

/** Meshed pods by namespace and name. */
export function meshedPods(index: PodIndex): readonly PodInput[] {
  return index.positions.meshed.flatMap((position) => index.pods[position] ?? []);
}

function preference(pod: PodInput): number {
  return (pod.meshed ? 4 : 0) + (pod.ready ? 2 : 0) + (pod.terminating ? 0 : 1);
}

function positionsOf(pods: readonly PodInput[]): PodPositions {
  const byName = new Map<string, Map<string, number>>();
  const byAddress = new Map<string, number[]>();
  const meshed: number[] = [];
  const at = (position: number): PodInput => pods[position] as PodInput;
  pods.forEach((pod, position) => {
    let names = byName.get(pod.namespace);
    if (names === undefined) byName.set(pod.namespace, (names = new Map<string, number>()));
    names.set(pod.name, position);
    if (pod.meshed) meshed.push(position);
    if (pod.ip === "") return;
    const there = byAddress.get(pod.ip);
    if (there === undefined) byAddress.set(pod.ip, [position]);
    else there.push(position);
  });
  for (const there of byAddress.values()) {
    if (there.length > 1) there.sort((a, b) => preference(at(b)) - preference(at(a)) || compareObjects(at(a), at(b)));
  }
  meshed.sort((a, b) => compareObjects(at(a), at(b)));
  const ranks = new Array<number>(pods.length).fill(-1);
  meshed.forEach((position, place) => (ranks[position] = place));
  return { byName, byAddress, meshed, ranks };
}

/** Whether `next` may stand where `before` stood without moving anything in the index. */
function isInPlace(before: PodInput, next: PodInput, positions: PodPositions): boolean {
  const samePlace =
    before.name === next.name &&
    before.namespace === next.namespace &&
    before.ip === next.ip &&
    before.meshed === next.meshed;
  // among several pods of one address the best may be another now
  return samePlace && (positions.byAddress.get(next.ip)?.length ?? 0) <= 1;
}

function positionsHold(last: PodIndex, pods: readonly PodInput[]): boolean {
  if (last.pods.length !== pods.length) return false;
  for (let position = 0; position < pods.length; position++) {
    const before = last.pods[position];
    const next = pods[position];
    if (before === next) continue;
    if (before === undefined || next === undefined || !isInPlace(before, next, last.positions)) return false;
  }
  return true;
}

const podIndexTopic = topic<PodIndex>("pod index");

export function podIndexOf(memory: Memory, inputs: MeshInputs): PodIndex {
  const { pods } = inputs;
  return stage(memory, podIndexTopic, [pods], (_, last) => {
    const positions = last !== undefined && positionsHold(last, pods) ? last.positions : positionsOf(pods);
    return { pods, positions };
  });
}
