// Which of several TrafficSplits are in force together: one for each root, and none that leads back to its own root. The oldest wins,
// so that a new object never changes what holds; of two made in the same second the name decides. Pure; called by splits.ts.
import { compareObjects } from "./order.ts";
import type { TrafficSplitInput } from "./inputs.ts";

/** A split whose names are read: keys of services. */
export interface NamedSplit {
  readonly split: TrafficSplitInput;
  readonly root: string;
  /** Place by place of `split.backends`. */
  readonly backends: readonly string[];
}

export type Standing =
  | { readonly kind: "in-force" }
  | { readonly kind: "taken"; readonly by: TrafficSplitInput }
  /** `backend`: the place of the backend that leads back; `by`: the older splits on the way, none for a root that is its own backend. */
  | { readonly kind: "cycle"; readonly backend: number; readonly by: readonly TrafficSplitInput[] };

function compareAge({ split: a }: NamedSplit, { split: b }: NamedSplit): number {
  return a.createdAtMs - b.createdAtMs || compareObjects(a, b);
}

/** The accepted splits by which `from` leads to `root`. */
function wayTo(
  root: string,
  from: string,
  accepted: ReadonlyMap<string, NamedSplit>,
  seen = new Set<string>(),
): readonly TrafficSplitInput[] | undefined {
  if (from === root) return [];
  const next = seen.has(from) ? undefined : accepted.get(from);
  if (next === undefined) return undefined;
  seen.add(from);
  for (const backend of next.backends) {
    const rest = wayTo(root, backend, accepted, seen);
    if (rest !== undefined) return [next.split, ...rest];
  }
  return undefined;
}

function standingOf(named: NamedSplit, accepted: ReadonlyMap<string, NamedSplit>): Standing {
  for (const [backend, key] of named.backends.entries()) {
    const by = wayTo(named.root, key, accepted);
    if (by !== undefined) return { kind: "cycle", backend, by };
  }
  const taken = accepted.get(named.root);
  return taken === undefined ? { kind: "in-force" } : { kind: "taken", by: taken.split };
}

/** Oldest first. */
export function standings(
  splits: readonly NamedSplit[],
): readonly { readonly named: NamedSplit; readonly standing: Standing }[] {
  const accepted = new Map<string, NamedSplit>();
  return [...splits].sort(compareAge).map((named) => {
    const standing = standingOf(named, accepted);
    if (standing.kind === "in-force") accepted.set(named.root, named);
    return { named, standing };
  });
}
