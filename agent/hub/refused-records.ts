// What the hub does not take of ours, as problems of the objects that the records were made of. Pure.
import type { RecordProblem } from "../../shared/grpc/fleet-messages.ts";
import type { ObjectRef, Problem } from "../../shared/result.ts";

/** As recordKey (shared/registry.ts) writes them: `east/service/shop/cart`, `east/policy/shop/TrafficTarget/cart`. */
function objectOf(key: string): ObjectRef | undefined {
  const [, kind, namespace, ...rest] = key.split("/");
  if (namespace === undefined || namespace === "") return undefined;
  if (kind === "policy") {
    const [policyKind = "", name = ""] = rest;
    return { kind: policyKind, namespace, name };
  }
  const [name = ""] = rest;
  return kind === "service" || kind === "capacity" ? { kind: "ServiceExport", namespace, name } : undefined;
}

const made = new WeakMap<RecordProblem, Problem>();

/** The same problem again for the same refusal: writers compare by identity. */
function problemOf(refusal: RecordProblem): Problem {
  const known = made.get(refusal);
  if (known !== undefined) return known;
  const { key, code, message } = refusal;
  const object = objectOf(key);
  const said = `the hub does not take it: ${message}`;
  const problem = object === undefined ? { code, message: `${key}: ${said}` } : { code, message: said, object };
  made.set(refusal, problem);
  return problem;
}

export function refusedProblems(refused: readonly RecordProblem[]): readonly Problem[] {
  return refused.map(problemOf);
}
