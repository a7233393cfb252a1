import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { buildIr } from "./build.ts";
import type { MeshInputs, TrafficTargetInput } from "./inputs.ts";
import { anyInputs } from "./testing/arbitrary.ts";
import { aRouteGroup, aTarget, aTcpRoute, someInputs } from "./testing/objects.ts";
import type { GrantIr } from "./types.ts";

const http = { kind: "HTTPRouteGroup", name: "cart" } as const;
const tcp = { kind: "TCPRoute", name: "db" } as const;

function built(target: Partial<TrafficTargetInput>): {
  readonly grants: readonly GrantIr[];
  readonly codes: readonly string[];
} {
  const { ir, problems } = buildIr(
    someInputs({
      trafficTargets: [aTarget(target)],
      httpRouteGroups: [aRouteGroup(), aRouteGroup({ name: "empty", matches: [] })],
      tcpRoutes: [
        aTcpRoute(),
        aTcpRoute({ name: "bare", matches: [] }),
        aTcpRoute({ name: "any", matches: [{ name: "sql", ports: [] }] }),
      ],
    }),
  );
  return { grants: ir.grants, codes: problems.map((problem) => problem.code) };
}

describe("what the rules of one target grant", () => {
  const read = { pathRegex: "/items", methods: ["GET"], headers: [] };
  const write = { pathRegex: "/items", methods: ["POST", "PUT"], headers: [] };
  type Wanted = Pick<GrantIr, "ports" | "http" | "tcp"> | "nothing";
  const rows: readonly [string, TrafficTargetInput["rules"], Wanted, string[]][] = [
    [
      "a route group without matches named: all of it",
      [{ ...http, matches: [] }],
      { ports: [], http: [read, write] },
      [],
    ],
    ["one match by name", [{ ...http, matches: ["write"] }], { ports: [], http: [write] }, []],
    [
      "two rules of one group: the union",
      [
        { ...http, matches: ["write"] },
        { ...http, matches: ["read"] },
      ],
      { ports: [], http: [read, write] },
      [],
    ],
    [
      "overlapping rules: each match once",
      [
        { ...http, matches: [] },
        { ...http, matches: ["read"] },
      ],
      { ports: [], http: [read, write] },
      [],
    ],
    [
      "a TCPRoute alone: its ports, any HTTP on them",
      [{ ...tcp, matches: [] }],
      { ports: [5432], http: "any", tcp: true },
      [],
    ],
    [
      "both: port AND match",
      [
        { ...tcp, matches: [] },
        { ...http, matches: ["read"] },
      ],
      { ports: [5432], http: [read], tcp: true },
      [],
    ],
    [
      "a TCPRoute without matches (v1alpha1-3): any port",
      [{ ...tcp, name: "bare", matches: [] }],
      { ports: [], http: "any", tcp: true },
      [],
    ],
    [
      "a TCPRoute without ports: any port",
      [{ ...tcp, name: "any", matches: [] }],
      { ports: [], http: "any", tcp: true },
      [],
    ],
    [
      "any port and some ports: any port",
      [
        { ...tcp, matches: [] },
        { ...tcp, name: "any", matches: [] },
      ],
      { ports: [], http: "any", tcp: true },
      [],
    ],
    ["no rules at all", [], "nothing", []],
    ["a group without matches", [{ ...http, name: "empty", matches: [] }], "nothing", []],
    ["a group that does not exist", [{ ...http, name: "gone", matches: [] }], "nothing", ["ISTHMUS_UNRESOLVED_RULE"]],
    ["a match that does not exist", [{ ...http, matches: ["typo"] }], "nothing", ["ISTHMUS_UNRESOLVED_MATCH"]],
    [
      "ports that cannot be resolved do not become any port",
      [
        { ...tcp, name: "gone", matches: [] },
        { ...http, matches: [] },
      ],
      "nothing",
      ["ISTHMUS_UNRESOLVED_RULE"],
    ],
    [
      "nor does a match of a bare TCPRoute",
      [
        { ...tcp, name: "bare", matches: ["sql"] },
        { ...http, matches: [] },
      ],
      "nothing",
      ["ISTHMUS_UNRESOLVED_MATCH"],
    ],
    [
      "matches that cannot be resolved do not become any request",
      [
        { ...tcp, matches: [] },
        { ...http, name: "gone", matches: [] },
      ],
      { ports: [5432], http: [], tcp: true },
      ["ISTHMUS_UNRESOLVED_RULE"],
    ],
    [
      "UDP is accepted and said not to be enforced",
      [
        { kind: "UDPRoute", name: "dns", matches: [] },
        { ...http, matches: ["read"] },
      ],
      { ports: [], http: [read] },
      ["ISTHMUS_UDP_NOT_ENFORCED"],
    ],
    [
      "UDP alone grants nothing",
      [{ kind: "UDPRoute", name: "dns", matches: [] }],
      "nothing",
      ["ISTHMUS_UDP_NOT_ENFORCED"],
    ],
    [
      "an unknown kind grants nothing",
      [{ kind: "GRPCRoute", name: "x", matches: [] }],
      "nothing",
      ["ISTHMUS_RULE_KIND"],
    ],
  ];
  test.each(rows)("%s", (_, rules, wanted, codes) => {
    const result = built({ rules });
    expect(result.codes).toEqual(codes);
    const [grant] = result.grants;
    if (wanted === "nothing") expect(grant).toBeUndefined();
    else
      expect({ ports: grant?.ports, http: grant?.http, ...(grant?.tcp === undefined ? {} : { tcp: true }) }).toEqual(
        wanted,
      );
  });
});

describe("a destination that names a port", () => {
  test.each<[string, TrafficTargetInput["rules"], readonly number[] | "nothing"]>([
    ["opens requests there alone", [{ ...http, matches: [] }], [5432]],
    ["opens it alone of any port", [{ ...tcp, name: "any", matches: [] }], [5432]],
    ["opens it where a route does", [{ ...tcp, matches: [] }], [5432]],
  ])("%s", (_what, rules, ports) => {
    expect(built({ rules, destinationPort: 5432 }).grants[0]?.ports).toEqual(ports);
  });

  test("opens nothing where no route opens it", () => {
    expect(built({ rules: [{ ...tcp, matches: [] }], destinationPort: 80 }).grants).toEqual([]);
  });
});

test("a rule that names a UDPRoute which is not there says so, where that is known", () => {
  const target = aTarget({ rules: [{ kind: "UDPRoute", name: "dns", matches: [] }] });
  const codes = (udpRoutes: MeshInputs["udpRoutes"]) =>
    buildIr(someInputs({ trafficTargets: [target], ...(udpRoutes && { udpRoutes }) })).problems.map(({ code }) => code);
  expect(codes(undefined)).toEqual(["ISTHMUS_UDP_NOT_ENFORCED"]);
  expect(codes([])).toEqual(["ISTHMUS_UDP_NOT_ENFORCED", "ISTHMUS_UNRESOLVED_RULE"]);
  expect(codes([aTcpRoute({ name: "dns" })])).toEqual(["ISTHMUS_UDP_NOT_ENFORCED"]);
});

describe("who is granted", () => {
  const account = (name: string, namespace = "shop") => ({ kind: "ServiceAccount", namespace, name });
  const rows: readonly [string, Partial<TrafficTargetInput>, string[], string[]][] = [
    ["an account means this cluster's", { sources: [account("web")] }, ["east/shop/web"], []],
    ["without namespace it is the target's", { sources: [account("web", "")] }, ["east/shop/web"], []],
    [
      "annotated, the named clusters' instead",
      { sources: [account("web")], sourceClusters: ["west", "north"] },
      ["north/shop/web", "west/shop/web"],
      [],
    ],
    ["every member's", { sources: [account("web")], sourceClusters: ["west", "*"] }, ["*/shop/web"], []],
    [
      "a cluster name that is none grants nobody, least of all the local one",
      { sources: [account("web")], sourceClusters: ["No!"] },
      [],
      ["ISTHMUS_SOURCE_CLUSTERS"],
    ],
    ["a source twice counts once", { sources: [account("web"), account("web")] }, ["east/shop/web"], []],
    [
      "other kinds of source are granted nothing",
      { sources: [{ ...account("admins"), kind: "Group" }, account("web")] },
      ["east/shop/web"],
      ["ISTHMUS_SOURCE_KIND"],
    ],
    ["no sources, no grant", { sources: [] }, [], []],
    [
      "a destination in another namespace makes the target void",
      { destination: account("cart", "bank") },
      [],
      ["ISTHMUS_DESTINATION_NAMESPACE"],
    ],
    [
      "so does another kind of destination",
      { destination: { ...account("cart"), kind: "Service" } },
      [],
      ["ISTHMUS_DESTINATION_KIND"],
    ],
  ];
  test.each(rows)("%s", (_, target, wanted, codes) => {
    const result = built(target);
    expect(result.codes).toEqual(codes);
    const sources = result.grants.flatMap((grant) => grant.sources);
    expect(sources.map((source) => `${source.cluster}/${source.namespace}/${source.serviceAccount}`)).toEqual(wanted);
  });
});

/** Everything the grants say, taken apart: one line for each (source, destination, port, match). */
function statements(inputs: MeshInputs): ReadonlySet<string> {
  return new Set(
    buildIr(inputs).ir.grants.flatMap((grant) =>
      grant.sources.flatMap((source) =>
        (grant.ports.length === 0 ? [80, 90, 5432] : grant.ports).flatMap((port) => {
          const what = `${JSON.stringify(source)} ${grant.destinationNamespace}/${grant.destinationServiceAccount} ${port}`;
          const requests = grant.http === "any" ? anyRequest : grant.http.map((match) => JSON.stringify(match));
          return [...requests.map((match) => `${what} http ${match}`), ...(grant.tcp === true ? [`${what} tcp`] : [])];
        }),
      ),
    ),
  );
}

const anyRequest = buildIr(
  someInputs({ trafficTargets: [aTarget()], httpRouteGroups: [aRouteGroup()] }),
).ir.grants.flatMap(({ http: matches }) => (matches === "any" ? [] : matches.map((match) => JSON.stringify(match))));

test("taking a route or a target away never grants more, and adding a target never takes anything away", () => {
  fc.assert(
    fc.property(anyInputs, fc.nat(), (inputs, pick) => {
      const all = statements(inputs);
      for (const list of ["httpRouteGroups", "tcpRoutes", "trafficTargets"] as const) {
        const objects: readonly unknown[] = inputs[list];
        const fewer = statements({ ...inputs, [list]: objects.filter((_, index) => index !== pick % objects.length) });
        expect([...fewer].filter((statement) => !all.has(statement))).toEqual([]);
      }
    }),
    { numRuns: 300 },
  );
});
