// What the mesh makes of an SMI object, said as conditions of its status: taken or not and why, whether everything that it
// names is there, and what no sidecar enforces. Pure; agent/kube/policy-conditions.ts writes them.
import type { Problem } from "../../shared/result.ts";

export interface PolicyCondition {
  readonly type: "Accepted" | "ResolvedRefs" | "Enforced" | "Replicated";
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: string;
}

/** Kinds that name other objects. */
const referring: ReadonlySet<string> = new Set(["TrafficTarget", "TrafficSplit"]);
const notEnforced = "ISTHMUS_UDP_NOT_ENFORCED";
/** A part of the object means nothing, and the rest of it stands. */
const partial =
  /_UNRESOLVED_|^ISTHMUS_(SOURCE_KIND|SOURCE_CLUSTERS|RULE_KIND)$|^ISTHMUS_SPLIT_(ROOT|BACKEND|PORT|MATCH)$/;
/** About copies in other members: the object itself is as it was. */
const aside = /^ISTHMUS_REPLICA/;
/** The hub does not take it for other members; here it is as it was. */
const notTaken = /^ISTHMUS_RECORD/;
const conflict = /CONFLICT/;
const MAX_MESSAGE = 4_000;

export function policyConditions(kind: string, problems: readonly Problem[]): readonly PolicyCondition[] {
  const unresolved = problems.filter(({ code }) => partial.test(code));
  const elsewhere = (code: string) => aside.test(code) || notTaken.test(code);
  const refused = problems.filter(({ code }) => code !== notEnforced && !partial.test(code) && !elsewhere(code));
  const resolved = referring.has(kind) ? [resolvedRefs(unresolved)] : [];
  return [accepted(refused), ...resolved, ...enforced(kind, problems), ...replicated(problems)];
}

function accepted(refused: readonly Problem[]): PolicyCondition {
  const [first] = refused;
  if (first === undefined) return { type: "Accepted", status: "True", reason: "Accepted", message: "" };
  const reason = conflict.test(first.code) ? "Conflicted" : "Invalid";
  return { type: "Accepted", status: "False", reason, message: textOf(refused) };
}

function resolvedRefs(unresolved: readonly Problem[]): PolicyCondition {
  if (unresolved.length === 0) return { type: "ResolvedRefs", status: "True", reason: "ResolvedRefs", message: "" };
  return { type: "ResolvedRefs", status: "False", reason: "RefNotResolved", message: textOf(unresolved) };
}

function enforced(kind: string, problems: readonly Problem[]): readonly PolicyCondition[] {
  const said = problems.filter(({ code }) => code === notEnforced);
  if (said.length === 0 && kind !== "UDPRoute") return [];
  const message = "UDP does not pass the sidecar: this is accepted, but not enforced on the wire";
  return [{ type: "Enforced", status: "False", reason: "NotEnforcedOnTheWire", message: textOf(said) || message }];
}

function replicated(problems: readonly Problem[]): readonly PolicyCondition[] {
  const said = problems.filter(({ code }) => notTaken.test(code));
  if (said.length === 0) return [];
  return [{ type: "Replicated", status: "False", reason: "RefusedByHub", message: textOf(said) }];
}

function textOf(problems: readonly Problem[]): string {
  const parts = problems.map(
    ({ code, field, message }) => `${field === undefined ? "" : `${field} `}${message} (${code})`,
  );
  return parts.join("; ").slice(0, MAX_MESSAGE);
}
