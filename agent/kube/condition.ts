// Conditions of a status, as Kubernetes wants them: each with the generation it was said of, and since when it has its value.
import { fieldOf, sameValue, stringOf, type JsonObject } from "./json.ts";

export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
}

/** `standing`: whatever a status holds under `conditions`. */
export function conditionOf(standing: unknown, type: string): unknown {
  return listOf(standing).find((condition) => fieldOf(condition, "type") === type);
}

/** Undefined when all of them stand already, and none of ours besides. */
export function changedConditions(
  wanted: readonly Condition[],
  standing: unknown,
  of: { readonly generation: number; readonly nowMs: number },
): readonly JsonObject[] | undefined {
  const nowText = new Date(of.nowMs).toISOString().replace(/\.\d{3}Z$/, "Z");
  const bodies = wanted.map((condition): JsonObject => {
    const before = conditionOf(standing, condition.type);
    const since = stringOf(fieldOf(before, "lastTransitionTime"));
    const kept = fieldOf(before, "status") === condition.status && since !== "";
    return { ...condition, observedGeneration: of.generation, lastTransitionTime: kept ? since : nowText };
  });
  const stand = bodies.every((body) => sameValue(body, conditionOf(standing, stringOf(body["type"]))));
  return stand ? undefined : bodies;
}

function listOf(standing: unknown): readonly unknown[] {
  return Array.isArray(standing) ? (standing as readonly unknown[]) : [];
}
