// What a changed policy would do, said as flows: held to the verdicts of both policies on calls, so that nothing is left unsaid.
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { buildIr } from "../ir/build.ts";
import type { MeshInputs } from "../ir/inputs.ts";
import { aMeshConfig } from "../ir/testing/objects.ts";
import { callerVerdict, type Standing } from "./caller.ts";
import { flowChanges, type FlowChange } from "./flow-changes.ts";
import { loadRe2 } from "./re2.ts";
import { seenBySidecars } from "./request.ts";
import { matchesHttp, serverVerdict, type MatchesRegex, type Principal } from "./server.ts";
import { policySet, randomPolicies, type Place, type SetCall } from "./testing/policy-sets.ts";
import { tryPolicy, type Trial } from "./trial.ts";

const place: Place = { addressOf: (name) => `127.1.1.${name.length}`, httpPort: 1, tcpPort: 2 };
const policies = randomPolicies(400, 7);
const east = { web: "shop", ops: "bank" } as const;
let matches: MatchesRegex;
beforeAll(async () => {
  matches = await loadRe2();
});

function principalOf(call: SetCall): Principal {
  return "as" in call ? call.as : { cluster: "east", namespace: east[call.by], serviceAccount: call.by };
}

function seenOf({ http }: SetCall) {
  const seen = seenBySidecars({ ...http, headers: { ...http.headers, host: "cart.shop" } });
  return seen.kind === "request" ? seen.request : undefined;
}

/** Both halves of the verdict: splits here give each call to one backend. */
function isAllowed(standing: Standing, call: SetCall): boolean {
  const request = seenOf(call);
  if (request === undefined) throw new Error("no such call");
  const content = { request, matches };
  const target = { namespace: "shop", name: "cart", port: call.servicePort };
  const sent = callerVerdict(standing, principalOf(call), target, content);
  if (sent.kind !== "sent") return false;
  return sent.legs.every(({ local }) =>
    local.every(({ port, podName, serviceAccount }) => {
      const workload = standing.ir.workloads.find((each) => each.podName === podName);
      const inbound = workload?.inbound.find((each) => each.port === port);
      if (inbound === undefined) throw new Error("no such call");
      return serverVerdict(standing.ir, { namespace: "shop", serviceAccount, inbound }, principalOf(call), content)
        .allowed;
    }),
  );
}

/** Whether a change speaks of this call. */
function speaksOf({ flow }: FlowChange, call: SetCall): boolean {
  const { caller, content, service, port } = flow;
  const who = principalOf(call);
  const request = seenOf(call);
  if (service !== "cart" || port !== call.servicePort || request === undefined) return false;
  const isCaller =
    caller === "any" ||
    (caller.namespace === who.namespace &&
      caller.serviceAccount === who.serviceAccount &&
      (caller.cluster === "*" || caller.cluster === who.cluster));
  return isCaller && (typeof content === "string" || matchesHttp(content, request, matches));
}

describe("flows that change", () => {
  it(
    "speak of every call of this member whose verdict changes, and in the right direction",
    { timeout: 60_000 },
    () => {
      let changed = 0;
      fc.assert(
        fc.property(
          fc.constantFrom(...policies),
          fc.constantFrom(...policies),
          fc.boolean(),
          (one, other, splitAlone) => {
            const second = splitAlone ? { ...one, split: other.split } : other;
            const [before, after] = [one, second].map((drawn) => policySet(drawn, place));
            if (before === undefined || after === undefined) return;
            const old = { inputs: before.inputs, ir: buildIr(before.inputs).ir };
            const next = { inputs: after.inputs, ir: buildIr(after.inputs).ir };
            const changes = flowChanges(old.ir, next.ir);
            for (const call of [...before.calls, ...after.calls]) {
              // a redirect is answered before any policy is asked; other members reach exported ports alone
              if (seenOf(call) === undefined || principalOf(call).cluster !== "east") continue;
              const [was, is] = [isAllowed(old, call), isAllowed(next, call)];
              if (was === is) continue;
              changed += 1;
              const effect = is ? "allowed" : "cut";
              expect(changes.filter((change) => change.effect === effect && speaksOf(change, call))).not.toEqual([]);
            }
          },
        ),
        { numRuns: 400, seed: 11 },
      );
      expect(changed).toBeGreaterThan(50);
    },
  );

  it("are none between a mesh and itself", () => {
    for (const drawn of policies.slice(0, 50)) {
      const { ir } = buildIr(policySet(drawn, place).inputs);
      expect(flowChanges(ir, ir)).toEqual([]);
    }
  });
});

const nothing: Trial = { objects: [], modes: [], permissive: undefined };

describe("a policy that is tried", () => {
  const drawn = policies.find(({ targets, permissive }) => targets.length > 2 && !permissive);
  const inputs: MeshInputs = policySet(drawn ?? policies[0]!, place).inputs;
  const { ir } = buildIr(inputs);

  it("leaves the mesh that stands as it is", () => {
    const objects = inputs.trafficTargets.map((record) => ({ list: "trafficTargets" as const, record, remove: true }));
    const before = JSON.stringify(ir);
    tryPolicy({ ir, inputs }, { ...nothing, objects });
    expect(JSON.stringify(ir)).toBe(before);
    expect(buildIr(inputs, ir).ir).toBe(ir);
  });

  it("changes nothing when it is what stands already", () => {
    const objects = inputs.trafficTargets.map((record) => ({ list: "trafficTargets" as const, record, remove: false }));
    expect(tryPolicy({ ir, inputs }, { ...nothing, objects })).toEqual({ changes: [], problems: [] });
  });

  it("may be the member's mode: permissive mode allows anybody, its end cuts whoever has no grant", () => {
    const open = tryPolicy({ ir, inputs }, { ...nothing, permissive: true });
    expect(open.changes.every(({ effect }) => effect === "allowed")).toBe(true);
    expect(open.changes.length).toBeGreaterThan(0);
    const permissive = { ...inputs, permissive: true, namespaceModes: [] };
    const closed = tryPolicy({ ir: buildIr(permissive).ir, inputs: permissive }, { ...nothing, permissive: false });
    expect(closed.changes.every(({ effect, flow }) => effect === "cut" && flow.caller === "any")).toBe(true);
  });

  it("may be OSM's MeshConfig, and the whole member's mode goes before it", () => {
    const closed = { ...inputs, permissive: false, namespaceModes: [] };
    const standing = { ir: buildIr(closed).ir, inputs: closed };
    const record = aMeshConfig({ namespace: "osm-system", permissive: true });
    const objects = [{ list: "meshConfigs" as const, record, remove: false }];
    const { changes } = tryPolicy(standing, { ...nothing, objects });
    expect(changes.length).toBeGreaterThan(0);
    expect(changes.every(({ effect }) => effect === "allowed")).toBe(true);
    expect(tryPolicy(standing, { ...nothing, objects, permissive: false }).changes).toEqual([]);
  });
});

describe("one match covers another", () => {
  const rows = [
    { wide: "/items", narrow: "/items/[0-9]+", covered: true },
    { wide: "/.*", narrow: "/items", covered: true },
    { wide: "/items", narrow: "/items?", covered: false },
    { wide: "/items", narrow: "/items|/admin", covered: false },
    { wide: "/items/[0-9]+", narrow: "/items/7", covered: false },
  ];
  it.each(rows)("$wide and $narrow: $covered", ({ wide, narrow, covered }) => {
    const target = {
      namespace: "shop",
      name: "t0",
      destination: { kind: "ServiceAccount", namespace: "shop", name: "cart" },
    };
    const sources = [{ kind: "ServiceAccount", namespace: "shop", name: "web" }];
    const meshOf = (pathRegex: string) => {
      const base = policySet(
        { ...policies[0]!, permissive: false, modes: [], revoked: [], tcpRoutes: [] },
        place,
      ).inputs;
      return buildIr({
        ...base,
        trafficTargets: [
          { ...target, sources, rules: [{ kind: "HTTPRouteGroup", name: "g", matches: [] }], sourceClusters: [] },
        ],
        httpRouteGroups: [
          { namespace: "shop", name: "g", matches: [{ name: "m", pathRegex, methods: [], headers: [] }] },
        ],
      }).ir;
    };
    const cut = flowChanges(meshOf(narrow), meshOf(wide)).filter(({ effect }) => effect === "cut");
    expect(cut.length === 0).toBe(covered);
  });
});
