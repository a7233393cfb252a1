import { expect, test } from "vitest";
import { policyConditions } from "./policy-conditions.ts";

const problem = (code: string, field = "spec.x") => ({ code, message: "is wrong", field });

test.each<[string, string, readonly string[], readonly string[]]>([
  ["is accepted", "HTTPRouteGroup", [], ["Accepted=True Accepted"]],
  ["is accepted with all it names", "TrafficTarget", [], ["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs"]],
  [
    "is rejected",
    "TrafficSplit",
    ["ISTHMUS_OBJECT_FIELD"],
    ["Accepted=False Invalid", "ResolvedRefs=True ResolvedRefs"],
  ],
  ["is rejected for a pattern", "HTTPRouteGroup", ["ISTHMUS_REGEX"], ["Accepted=False Invalid"]],
  [
    "is in conflict",
    "TrafficSplit",
    ["ISTHMUS_SPLIT_CONFLICT"],
    ["Accepted=False Conflicted", "ResolvedRefs=True ResolvedRefs"],
  ],
  [
    "leads back to itself",
    "TrafficSplit",
    ["ISTHMUS_SPLIT_CYCLE"],
    ["Accepted=False Invalid", "ResolvedRefs=True ResolvedRefs"],
  ],
  [
    "names services that are not there yet",
    "TrafficSplit",
    ["ISTHMUS_SPLIT_BACKEND", "ISTHMUS_SPLIT_PORT"],
    ["Accepted=True Accepted", "ResolvedRefs=False RefNotResolved"],
  ],
  [
    "is more than the hub takes for other members",
    "HTTPRouteGroup",
    ["ISTHMUS_RECORD_QUOTA"],
    ["Accepted=True Accepted", "Replicated=False RefusedByHub"],
  ],
  [
    "names what is not there",
    "TrafficTarget",
    ["ISTHMUS_UNRESOLVED_RULE", "ISTHMUS_UNRESOLVED_ACCOUNT"],
    ["Accepted=True Accepted", "ResolvedRefs=False RefNotResolved"],
  ],
  [
    "has a rule that nothing enforces",
    "TrafficTarget",
    ["ISTHMUS_UDP_NOT_ENFORCED"],
    ["Accepted=True Accepted", "ResolvedRefs=True ResolvedRefs", "Enforced=False NotEnforcedOnTheWire"],
  ],
  ["is never enforced", "UDPRoute", [], ["Accepted=True Accepted", "Enforced=False NotEnforcedOnTheWire"]],
])("an object that %s (a %s with %j) says so", (_what, kind, codes, conditions) => {
  const said = policyConditions(
    kind,
    codes.map((code) => problem(code)),
  );
  expect(said.map(({ type, status, reason }) => `${type}=${status} ${reason}`)).toEqual(conditions);
});

test("a condition says every mistake with its field and code, within what a status may hold", () => {
  const [first] = policyConditions("TrafficTarget", [
    problem("ISTHMUS_REGEX", "spec.a"),
    problem("ISTHMUS_OBJECT_FIELD"),
  ]);
  expect(first?.message).toBe("spec.a is wrong (ISTHMUS_REGEX); spec.x is wrong (ISTHMUS_OBJECT_FIELD)");
  const many = policyConditions(
    "HTTPRouteGroup",
    Array.from({ length: 1_000 }, () => problem("ISTHMUS_REGEX")),
  );
  expect(many[0]?.message.length).toBeLessThanOrEqual(4_000);
});
