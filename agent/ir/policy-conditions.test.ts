import { expect, test } from "vitest";
import { buildIr } from "./build.ts";
import { policyConditions } from "./policy-conditions.ts";
import { aPort, aService, someInputs } from "./testing/objects.ts";

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
    "has no weight at all",
    "TrafficSplit",
    ["ISTHMUS_SPLIT_WEIGHTS"],
    ["Accepted=False Invalid", "ResolvedRefs=True ResolvedRefs"],
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

/** Two ports of the root, 80 and 9090; 80 alone of each version that exists. */
function ofSplit(existing: readonly string[], backends: Readonly<Record<string, number>>) {
  const services = [
    aService({ ports: [aPort(), aPort({ name: "grpc-api", port: 9090 })] }),
    ...existing.map((name) => aService({ name })),
  ];
  const split = { namespace: "shop", name: "canary", createdAtMs: 0, service: "cart", matches: [] };
  const weights = Object.entries(backends).map(([service, weight]) => ({ service, weight }));
  const { problems } = buildIr(someInputs({ services, trafficSplits: [{ ...split, backends: weights }] }));
  return policyConditions("TrafficSplit", problems);
}

test("a split in force on one port of its root is accepted, and names the port that its backends lack", () => {
  const [accepted, resolved] = ofSplit(["v1", "v2"], { v1: 90, v2: 10 });
  expect(accepted).toMatchObject({ type: "Accepted", status: "True" });
  expect(resolved).toMatchObject({ type: "ResolvedRefs", status: "False", reason: "RefNotResolved" });
  expect(resolved?.message).toMatch(/"v1" has no port 9090.*"v2" has no port 9090.*ISTHMUS_SPLIT_PORT/);
});

test("a split that is made before its backends is accepted, and names what is still to come", () => {
  const [accepted, resolved] = ofSplit([], { v1: 90, v2: 10 });
  expect(accepted).toMatchObject({ type: "Accepted", status: "True" });
  expect(resolved).toMatchObject({ type: "ResolvedRefs", status: "False", reason: "RefNotResolved" });
  expect(resolved?.message).toMatch(/"v1" does not exist.*"v2" does not exist/);
});

test("a split whose weights are all 0 is refused, its backends there or not", () => {
  for (const existing of [["v1", "v2"], []])
    expect(ofSplit(existing, { v1: 0, v2: 0 })[0]).toMatchObject({
      type: "Accepted",
      status: "False",
      reason: "Invalid",
    });
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
