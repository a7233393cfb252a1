// The rotation of the fleet's root as a state machine: which steps there are, what each does to the roots, and which way leads
// from one to another. Pure: fleet.json is its journal (hub/ca), gate.ts says when a step may be left, hub/api/rotation.ts acts.
//
//   prepared ──► trusted ──► signing ──► retiring ──► revoked ──► (over)
//       │            │           │
//       │            └───────────┴──► reverting ──► (over: as if nothing had been)
//       └──► (over)
//
// The one invariant: whatever any live certificate chains to is in the bundle, before it is used and until nobody uses it.
import { ok, rejected, type Result } from "../../shared/result.ts";

export const steps = ["prepared", "trusted", "signing", "retiring", "revoked"] as const;

export type RootState = "prepared" | "trusted" | "signing";

/** A root as the machine sees it; what else fleet.json says of it is carried along. */
export interface RootOfFleet {
  readonly id: string;
  /** `prepared`: nobody is told of it. `trusted`: in the bundle. `signing`: in the bundle, and new certificates come from it. */
  readonly state: RootState;
}

export type Step =
  /** The new root is made, or waits for somebody to sign it; it is in no bundle. */
  | "prepared"
  /** In the bundle; the old root signs. */
  | "trusted"
  /** The new root signs; everybody gets new certificates; both are trusted. */
  | "signing"
  /** Nobody is known to use the old root any more; it is trusted until the last certificate under it has ended. */
  | "retiring"
  /** The old root is in no bundle. */
  | "revoked"
  /** The way back: the old root signs again, the new one is trusted until nobody uses it. */
  | "reverting";

export interface JournalEntry {
  readonly step: Step;
  readonly atMs: number;
  /** The bundle that states this step. */
  readonly sequence: number;
}

export interface Rotation {
  readonly from: string;
  readonly to: string;
  readonly step: Step;
  /** Oldest first; the last is the step that it is in. */
  readonly journal: readonly JournalEntry[];
  /** Members that are not waited for, by an operator's word. */
  readonly setAside: readonly string[];
  /** The same of single proxies, each `MEMBER NAME` with the name that `isthmus trust` gives it. Absent: none. */
  readonly proxiesAside?: readonly string[];
  /** The step that an operator does not want to be left before he says so. */
  holdAt?: Step;
  /** Of an emergency: from here on nobody is waited for. */
  readonly hastenedUntilMs?: number;
  /** In `retiring`: the last certificate under the old root has ended by then. */
  readonly retireAtMs?: number;
}

export interface PastRotation {
  readonly from: string;
  readonly to: string;
  readonly outcome: "completed" | "rolled-back";
  readonly endedAtMs: number;
}

/** The part of fleet.json that a rotation changes. */
export interface FleetTrust<Root extends RootOfFleet = RootOfFleet> {
  readonly roots: readonly Root[];
  readonly bundle: { readonly sequence: number };
  rotation?: Rotation;
  readonly lastRotation?: PastRotation;
}

/** Steps that can still be taken back. */
export const reversible: ReadonlySet<Step> = new Set<Step>(["prepared", "trusted", "signing"]);

export const nextStep: Readonly<Record<Step, Step | "over">> = {
  prepared: "trusted",
  trusted: "signing",
  signing: "retiring",
  retiring: "revoked",
  revoked: "over",
  reverting: "over",
};

/** What becomes of the two roots in each step; undefined: it leaves the fleet. */
const rootsIn: Readonly<Record<Step, readonly [from: RootState | undefined, to: RootState | undefined]>> = {
  prepared: ["signing", "prepared"],
  trusted: ["signing", "trusted"],
  signing: ["trusted", "signing"],
  retiring: ["trusted", "signing"],
  revoked: [undefined, "signing"],
  reverting: ["signing", "trusted"],
};

export function signingRoot<Root extends RootOfFleet>(trust: FleetTrust<Root>): Root | undefined {
  return trust.roots.find(({ state }) => state === "signing");
}

/** What a bundle states. */
export function trustedRoots<Root extends RootOfFleet>(roots: readonly Root[]): readonly Root[] {
  return roots.filter(({ state }) => state !== "prepared");
}

export function sequenceOf({ journal }: Rotation): number {
  return journal.at(-1)?.sequence ?? 0;
}

type Trust<Root extends RootOfFleet, Whole extends FleetTrust<Root>> = Whole & FleetTrust<Root>;

export function startRotation<Root extends RootOfFleet, Whole extends FleetTrust<Root>>(
  trust: Trust<Root, Whole>,
  to: Root,
  atMs: number,
): Result<Whole> {
  if (trust.rotation !== undefined) {
    return rejected("ISTHMUS_ROTATION_RUNS", `a rotation runs already, in step ${trust.rotation.step}`);
  }
  const from = signingRoot(trust);
  if (from === undefined || trust.roots.some(({ id }) => id === to.id)) {
    return rejected("ISTHMUS_ROTATION_ROOT", `${to.id} cannot take the place of ${from?.id ?? "no root"}`);
  }
  // nobody is told of a prepared root, so the bundle stays as it is
  const journal = [{ step: "prepared" as const, atMs, sequence: trust.bundle.sequence }];
  const rotation: Rotation = { from: from.id, to: to.id, step: "prepared", journal, setAside: [] };
  return ok({ ...trust, roots: [...trust.roots, { ...to, state: "prepared" }], rotation });
}

/** The next step, whether or not its gate is open: gate.ts is asked before. A new step is a new bundle, so that everybody looks. */
export function advance<Whole extends FleetTrust>(trust: Whole, atMs: number, retireAtMs?: number): Whole {
  const { rotation } = trust;
  if (rotation === undefined) return trust;
  const step = nextStep[rotation.step];
  return step === "over" ? finish(trust, rotation, atMs) : enter(trust, { rotation, step, atMs, retireAtMs });
}

export function rollBack<Whole extends FleetTrust>(trust: Whole, atMs: number): Result<Whole> {
  const { rotation } = trust;
  if (rotation === undefined) return rejected("ISTHMUS_ROTATION_NONE", "no rotation runs");
  if (rotation.step === "reverting") return ok(trust);
  if (!reversible.has(rotation.step)) {
    return rejected("ISTHMUS_ROTATION_PAST", `in step ${rotation.step} the old root signs nothing any more`);
  }
  // nobody has ever been told of a root that is only prepared
  if (rotation.step === "prepared") return ok(finish(trust, { ...rotation, step: "reverting" }, atMs));
  return ok(enter(trust, { rotation, step: "reverting", atMs }));
}

export function setAside<Whole extends FleetTrust>(trust: Whole, cluster: string, aside: boolean): Result<Whole> {
  const { rotation } = trust;
  if (rotation === undefined) return rejected("ISTHMUS_ROTATION_NONE", "no rotation runs");
  const others = rotation.setAside.filter((name) => name !== cluster);
  return ok({ ...trust, rotation: { ...rotation, setAside: aside ? [...others, cluster].sort() : others } });
}

/** One proxy that is dead, or hangs, while the rest of its member is waited for. */
export function setProxyAside<Whole extends FleetTrust>(
  trust: Whole,
  { cluster, proxy }: { readonly cluster: string; readonly proxy: string },
  aside: boolean,
): Result<Whole> {
  const { rotation } = trust;
  if (rotation === undefined) return rejected("ISTHMUS_ROTATION_NONE", "no rotation runs");
  const entry = `${cluster} ${proxy}`;
  const others = (rotation.proxiesAside ?? []).filter((each) => each !== entry);
  return ok({ ...trust, rotation: { ...rotation, proxiesAside: aside ? [...others, entry].sort() : others } });
}

/** Names of the member's proxies that are not waited for. */
export function proxiesAsideOf({ proxiesAside = [] }: Rotation, cluster: string): ReadonlySet<string> {
  const prefix = `${cluster} `;
  return new Set(proxiesAside.filter((each) => each.startsWith(prefix)).map((each) => each.slice(prefix.length)));
}

/** Lets the rotation go on, up to `holdAt` if that is given. */
export function resume<Whole extends FleetTrust>(trust: Whole, holdAt?: Step): Result<Whole> {
  const { rotation } = trust;
  if (rotation === undefined) return rejected("ISTHMUS_ROTATION_NONE", "no rotation runs");
  return ok({ ...trust, rotation: { ...free(rotation), ...(holdAt === undefined ? {} : { holdAt }) } });
}

/** An emergency takes over whatever rotation runs: its waits end at `untilMs`, and nobody holds it. */
export function hasten<Whole extends FleetTrust>(trust: Whole, untilMs: number): Result<Whole> {
  const { rotation } = trust;
  if (rotation === undefined) return rejected("ISTHMUS_ROTATION_NONE", "no rotation runs");
  if (rotation.step === "reverting") {
    return rejected("ISTHMUS_ROTATION_RUNS", "the rotation is being taken back; wait until it is over");
  }
  const hastenedUntilMs = Math.min(untilMs, rotation.hastenedUntilMs ?? Infinity);
  return ok({ ...trust, rotation: { ...free(rotation), hastenedUntilMs } });
}

function free(rotation: Rotation): Rotation {
  const rest = { ...rotation };
  delete rest.holdAt;
  return rest;
}

interface Entering {
  readonly rotation: Rotation;
  readonly step: Step;
  readonly atMs: number;
  readonly retireAtMs?: number | undefined;
}

function enter<Whole extends FleetTrust>(trust: Whole, { rotation, step, atMs, retireAtMs }: Entering): Whole {
  const sequence = trust.bundle.sequence + 1;
  const journal = [...rotation.journal, { step, atMs, sequence }];
  return {
    ...trust,
    roots: rootsAt(trust.roots, rotation, rootsIn[step]),
    bundle: { ...trust.bundle, sequence },
    rotation: { ...rotation, step, journal, ...(retireAtMs === undefined ? {} : { retireAtMs }) },
  };
}

function finish<Whole extends FleetTrust>(trust: Whole, rotation: Rotation, endedAtMs: number): Whole {
  const reverted = rotation.step === "reverting";
  const roots = rootsAt(trust.roots, rotation, reverted ? ["signing", undefined] : [undefined, "signing"]);
  const told = trustedRoots(roots).length !== trustedRoots(trust.roots).length;
  const rest = { ...trust };
  delete rest.rotation;
  return {
    ...rest,
    roots,
    bundle: { ...trust.bundle, sequence: trust.bundle.sequence + (told ? 1 : 0) },
    lastRotation: {
      from: rotation.from,
      to: rotation.to,
      outcome: reverted ? "rolled-back" : "completed",
      endedAtMs,
    },
  };
}

function rootsAt(
  roots: readonly RootOfFleet[],
  { from, to }: Rotation,
  [fromState, toState]: readonly [RootState | undefined, RootState | undefined],
): readonly RootOfFleet[] {
  return roots.flatMap((root) => {
    if (root.id !== from && root.id !== to) return [root];
    const state = root.id === from ? fromState : toState;
    return state === undefined ? [] : [{ ...root, state }];
  });
}
