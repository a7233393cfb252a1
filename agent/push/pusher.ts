// The push loop: whatever changed, rebuild the IR from the current inputs, translate it for every proxy class that has a
// stream, and publish what differs. The composition root calls `changed()` for any event; nothing here waits or polls.
// Level-triggered: changes that arrive while the event loop is busy make one push. Last good stays: a class whose
// snapshot cannot be made keeps the one it has, and the reason is reported.
import type { MeshInputs } from "../ir/inputs.ts";
import type { MeshIr } from "../ir/types.ts";
import type { Problem } from "../../shared/result.ts";
import type { ProxyClass, ProxyTrust } from "../xds/proxy.ts";
import type { ResourceSet, Snapshot } from "../xds/resource.ts";

export interface PushedClass {
  readonly key: string;
  readonly proxy: ProxyClass;
}

export interface PushStages {
  /** Undefined until every source has delivered a complete first list. */
  inputs(): MeshInputs | undefined;
  buildIr(
    inputs: MeshInputs,
    previous: MeshIr | undefined,
  ): { readonly ir: MeshIr; readonly problems: readonly Problem[] };
  /** Undefined while the credential is being issued; the issuer's change event brings the next push. */
  trustOf(proxy: ProxyClass): ProxyTrust | undefined;
  translate(ir: MeshIr, proxy: ProxyClass, trust: ProxyTrust): ResourceSet;
  encode(set: ResourceSet, previous: Snapshot | undefined): Snapshot;
  check(snapshot: Snapshot): readonly Problem[];
  publish(classKey: string, snapshot: Snapshot): void;
  /** After each push: what stands now, for status, exports and imports. */
  settled(ir: MeshIr, problems: readonly Problem[], inputs: MeshInputs): void;
}

export interface Pusher {
  /** Something may have changed. Cheap; any number of calls before the next turn of the event loop make one push. */
  changed(): void;
  /** A class got its first stream: it is part of every push until `drop`. */
  add(pushed: PushedClass): void;
  drop(classKey: string): void;
  readonly ir: MeshIr | undefined;
}

interface ClassState {
  readonly proxy: ProxyClass;
  ir?: MeshIr;
  trust?: ProxyTrust;
  set?: ResourceSet;
  snapshot?: Snapshot;
}

/** `fail` ends the program: an exception here is a fault of ours, not of an input, unless it comes from one class's translation. */
export function createPusher(stages: PushStages, fail: (error: unknown) => void): Pusher {
  const classes = new Map<string, ClassState>();
  let scheduled = false;
  let ir: MeshIr | undefined;

  const push = () => {
    scheduled = false;
    const inputs = stages.inputs();
    if (inputs === undefined) return;
    const built = stages.buildIr(inputs, ir);
    ir = built.ir;
    const problems = [...built.problems];
    for (const [key, state] of classes) problems.push(...pushClass(stages, key, { state, ir }));
    stages.settled(ir, problems, inputs);
  };
  const changed = () => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(() => {
      try {
        push();
      } catch (error) {
        fail(error);
      }
    });
  };
  return {
    changed,
    add: ({ key, proxy }) => {
      if (classes.has(key)) return;
      classes.set(key, { proxy });
      changed();
    },
    drop: (classKey) => void classes.delete(classKey),
    get ir() {
      return ir;
    },
  };
}

/** Brings one class up to date; returns why it could not be. */
function pushClass(
  stages: PushStages,
  key: string,
  at: { readonly state: ClassState; readonly ir: MeshIr },
): readonly Problem[] {
  const { state, ir } = at;
  const trust = stages.trustOf(state.proxy);
  if (trust === undefined || (state.ir === ir && state.trust === trust)) return [];
  const set = attempt(() => stages.translate(ir, state.proxy, trust));
  if (set instanceof Error) return [untranslatable(key, set.message)];
  if (set === state.set) {
    Object.assign(state, { ir, trust });
    return [];
  }
  const snapshot = attempt(() => stages.encode(set, state.snapshot));
  if (snapshot instanceof Error) return [untranslatable(key, snapshot.message)];
  const inconsistent = stages.check(snapshot);
  if (inconsistent.length > 0) return inconsistent;
  Object.assign(state, { ir, trust, set, snapshot });
  stages.publish(key, snapshot);
  return [];
}

/** A value that no stage foresaw must cost its class a push, not the cluster its control plane. */
function attempt<T>(work: () => T): T | Error {
  try {
    return work();
  } catch (error) {
    return error instanceof Error ? error : new Error("translation failed", { cause: error });
  }
}

function untranslatable(classKey: string, reason: string): Problem {
  return { code: "ISTHMUS_TRANSLATION", message: `${classKey} keeps its last good configuration: ${reason}` };
}
