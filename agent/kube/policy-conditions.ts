// Says on every SMI object what became of it, in its status. Upstream's CRDs have none: where theirs are installed, the Events
// of object-events.ts are all there is. Run as leader.
import type { ObjectRef, Problem } from "../../shared/result.ts";
import { policyConditions, type PolicyCondition } from "../ir/policy-conditions.ts";
import type { SmiKindName } from "../smi/versions.ts";
import { policyKinds } from "../ir/replicas.ts";
import { isApiError } from "./api-error.ts";
import { changedConditions, conditionOf } from "./condition.ts";
import type { PolicyAside } from "./feeds.ts";
import type { Kube } from "./kube.ts";
import { policyStore } from "./policy-store.ts";
import { apiVersionOf } from "./resources.ts";
import type { Stored } from "./store.ts";
import { createWriter, type Writer } from "./writer.ts";

type StoredPolicy = Stored<unknown, PolicyAside>;

/** What was last found right, so that a push over ten thousand objects looks only at those that moved. */
type Settled = WeakMap<StoredPolicy, readonly Problem[]>;

const none: readonly Problem[] = [];
const types: readonly PolicyCondition["type"][] = ["Accepted", "ResolvedRefs", "Enforced", "Replicated"];

/** Another's CRD may be replaced by ours while the agent runs; until then not every push asks again. */
const STATUSLESS_MS = 10 * 60_000;

/** The wish is every problem there is; an object without one is accepted. */
export function createPolicyConditionWriter(kube: Kube): Writer<readonly Problem[]> {
  const settled: Settled = new WeakMap();
  const untilMs = new Map<SmiKindName, number>();
  return createWriter<readonly Problem[]>({
    ...kube,
    name: "policy conditions",
    write: async (problems, signal) => {
      const byObject = groupByObject(problems);
      for (const kind of policyKinds) {
        if ((untilMs.get(kind) ?? 0) > kube.clock.now()) continue;
        const hasStatus = await writeKind(kube, kind, { byObject, settled, signal });
        if (!hasStatus) untilMs.set(kind, kube.clock.now() + STATUSLESS_MS);
      }
    },
  });
}

interface Round {
  readonly byObject: ReadonlyMap<string, readonly Problem[]>;
  readonly settled: Settled;
  readonly signal: AbortSignal;
}

function groupByObject(problems: readonly Problem[]): ReadonlyMap<string, readonly Problem[]> {
  const groups = new Map<string, Problem[]>();
  for (const problem of problems) {
    if (problem.object === undefined) continue;
    const key = keyOf(problem.object);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [problem]);
    else group.push(problem);
  }
  return groups;
}

function keyOf({ kind, namespace = "", name }: ObjectRef): string {
  return `${kind} ${namespace}/${name}`;
}

/** False: this kind has no status here. */
async function writeKind(kube: Kube, kind: SmiKindName, round: Round): Promise<boolean> {
  for (const object of [...policyStore(kube.stores, kind).all()]) {
    const problems = round.byObject.get(keyOf({ kind, ...object })) ?? none;
    if (isSettled(round.settled.get(object), problems)) continue;
    round.signal.throwIfAborted();
    if (!(await writeStatus(kube, kind, { object, problems }))) return false;
    round.settled.set(object, problems);
  }
  return true;
}

function isSettled(before: readonly Problem[] | undefined, now: readonly Problem[]): boolean {
  return before?.length === now.length && before.every((problem, index) => problem === now[index]);
}

/** False: this kind has no status here, and the rest of its objects need not be tried. */
async function writeStatus(
  kube: Kube,
  kind: SmiKindName,
  { object, problems }: { readonly object: StoredPolicy; readonly problems: readonly Problem[] },
): Promise<boolean> {
  const resource = kube.served(kind);
  if (resource === undefined) return true;
  const { namespace, name, uid, generation } = object;
  const standing = object.aside.conditions;
  const wanted = policyConditions(kind, problems);
  const gone = types.some(
    (type) => conditionOf(standing, type) !== undefined && wanted.every((condition) => condition.type !== type),
  );
  const changed = changedConditions(wanted, standing, { generation, nowMs: kube.clock.now() });
  if (changed === undefined && !gone) return true;
  const at = { resource, namespace, name, subresource: "status" as const };
  const conditions = changed ?? wanted.map((condition) => conditionOf(standing, condition.type));
  const body = { apiVersion: apiVersionOf(resource), kind, metadata: { namespace, name, uid }, status: { conditions } };
  try {
    await kube.client.apply(at, body, true);
  } catch (error) {
    // the path of a status that no CRD declares is as unknown as that of an object which is gone
    if (isApiError(error, "not-found"))
      return [...policyStore(kube.stores, kind).all()].every((each) => each.uid !== uid);
    // made again meanwhile: its next version brings the next wish
    if (!isApiError(error, "conflict")) throw error;
  }
  return true;
}
