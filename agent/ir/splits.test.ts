import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { buildIr } from "./build.ts";
import type { HttpRouteGroupInput, MeshInputs, ServiceInput, TrafficSplitInput } from "./inputs.ts";
import { aPort, aRouteGroup, aService, aServiceRecord, someInputs } from "./testing/objects.ts";

function aSplit(split: Partial<TrafficSplitInput> = {}): TrafficSplitInput {
  const backends = [
    { service: "cart-v1", weight: 90 },
    { service: "cart-v2", weight: 10 },
  ];
  return { namespace: "shop", name: "cart", createdAtMs: 0, service: "cart", backends, matches: [], ...split };
}

const services: readonly ServiceInput[] = ["cart", "cart-v1", "cart-v2", "pay"].map((name) => aService({ name }));

interface Outcome {
  /** `root:port backend=weight …` */
  readonly shares: readonly string[];
  readonly said: readonly string[];
}

function outcome(inputs: Partial<MeshInputs>): Outcome {
  const { ir, problems } = buildIr(someInputs({ services, ...inputs }));
  return {
    shares: ir.splits.flatMap(({ root, ports }) =>
      ports.map(({ port, backends }) =>
        [`${root}:${port}`, ...backends.map(({ service, weight }) => `${service}=${weight}`)].join(" "),
      ),
    ),
    said: problems.map(({ code, field, object }) => `${object?.name ?? ""} ${code} ${field ?? ""}`),
  };
}

const canary = "cluster/shop/cart:80 cluster/shop/cart-v1=90 cluster/shop/cart-v2=10";

describe("the names of a split", () => {
  it.each([
    "cart",
    "cart.shop",
    "cart.shop.svc",
    "cart.shop.svc.cluster",
    "cart.shop.svc.cluster.local",
    "cart.shop.svc.cluster.local.",
    "Cart.Shop",
  ])("mean the Service of the split's namespace, written as %s", (service) => {
    expect(outcome({ trafficSplits: [aSplit({ service })] })).toEqual({ shares: [canary], said: [] });
  });

  it.each(["cart.bank", "cart.bank.svc.cluster.local", "cart.shop.example.org", "", ".shop"])(
    "of what is no Service of its namespace (%j) put the split out of force",
    (service) => {
      const root = outcome({ trafficSplits: [aSplit({ service })] });
      expect(root).toEqual({ shares: [], said: ["cart ISTHMUS_SPLIT_NAMESPACE spec.service"] });
      const backend = outcome({ trafficSplits: [aSplit({ backends: [{ service, weight: 1 }] })] });
      expect(backend).toEqual({ shares: [], said: ["cart ISTHMUS_SPLIT_NAMESPACE spec.backends[0].service"] });
    },
  );

  const remote = [aServiceRecord({ name: "cart-v2" }), aServiceRecord({ name: "stock" })];

  it("mean an import where the cluster has no Service of the name, or where they say so", () => {
    const backends = ["stock", "cart-v2", "cart-v2.shop.svc.clusterset.local"].map((service) => ({
      service,
      weight: 1,
    }));
    expect(outcome({ remote, trafficSplits: [aSplit({ backends })] }).shares).toEqual([
      "cluster/shop/cart:80 cluster/shop/cart-v2=1 fleet/shop/cart-v2=1 fleet/shop/stock=1",
    ]);
  });

  it("may be those of an import as root", () => {
    const trafficSplits = [aSplit({ service: "stock.shop.svc.clusterset.local" })];
    expect(outcome({ remote, trafficSplits }).shares).toEqual([
      "fleet/shop/stock:80 cluster/shop/cart-v1=90 cluster/shop/cart-v2=10",
    ]);
  });
});

describe("the weights of a split", () => {
  const weighted = (...weights: readonly [string, number][]) =>
    outcome({ trafficSplits: [aSplit({ backends: weights.map(([service, weight]) => ({ service, weight })) })] });

  it("are kept as written, those of 0 too", () => {
    expect(weighted(["cart-v1", 1000], ["cart-v2", 500]).shares).toEqual([
      "cluster/shop/cart:80 cluster/shop/cart-v1=1000 cluster/shop/cart-v2=500",
    ]);
    expect(weighted(["cart-v1", 1], ["cart-v2", 0]).shares).toEqual([
      "cluster/shop/cart:80 cluster/shop/cart-v1=1 cluster/shop/cart-v2=0",
    ]);
  });

  it("of a backend that is named twice are added", () => {
    expect(weighted(["cart-v1", 1], ["cart-v1.shop", 2]).shares).toEqual([
      "cluster/shop/cart:80 cluster/shop/cart-v1=3",
    ]);
  });

  it("that are all 0 put it out of force, and say so", () => {
    expect(weighted(["cart-v1", 0])).toEqual({ shares: [], said: ["cart ISTHMUS_SPLIT_WEIGHTS spec.backends"] });
  });

  it("of a backend that does not exist yet are the others', and it is said", () => {
    expect(weighted(["cart-v1", 1], ["cart-v3", 9])).toEqual({
      shares: ["cluster/shop/cart:80 cluster/shop/cart-v1=1"],
      said: ["cart ISTHMUS_SPLIT_BACKEND spec.backends[1].service"],
    });
  });

  it.each<[string, readonly [string, number][], readonly string[]]>([
    [
      "all backends",
      [
        ["cart-v3", 9],
        ["cart-v4", 1],
      ],
      ["0", "1"],
    ],
    [
      "the only one with a weight",
      [
        ["cart-v1", 0],
        ["cart-v3", 9],
      ],
      ["1"],
    ],
  ])(
    "wait where %s are still to come: nothing else is wrong, and calls go to the root meanwhile",
    (_what, backends, places) => {
      expect(weighted(...backends)).toEqual({
        shares: [],
        said: places.map((place) => `cart ISTHMUS_SPLIT_BACKEND spec.backends[${place}].service`),
      });
      const written = backends.map(([service, weight]) => ({ service, weight }));
      const { problems } = buildIr(someInputs({ services, trafficSplits: [aSplit({ backends: written })] }));
      for (const { message } of problems) expect(message).toMatch(/does not exist .*calls go to the root service/);
    },
  );

  it("that are all 0 are wrong also while backends are still to come", () => {
    expect(weighted(["cart-v3", 0]).said).toEqual([
      "cart ISTHMUS_SPLIT_WEIGHTS spec.backends",
      "cart ISTHMUS_SPLIT_BACKEND spec.backends[0].service",
    ]);
  });
});

describe("the ports of a split", () => {
  const ports = [aPort(), aPort({ name: "grpc-api", port: 9090 }), aPort({ name: "tcp-raw", port: 9000 })];
  const [root, v1] = [aService({ ports }), aService({ name: "cart-v1", ports })];

  it("are those of the root; a backend without one, or that speaks otherwise there, is left out and named", () => {
    const v2 = aService({ name: "cart-v2", ports: [aPort(), aPort({ name: "http-raw", port: 9000 })] });
    expect(outcome({ services: [root, v1, v2], trafficSplits: [aSplit()] })).toEqual({
      shares: [
        canary,
        "cluster/shop/cart:9000 cluster/shop/cart-v1=90",
        "cluster/shop/cart:9090 cluster/shop/cart-v1=90",
      ],
      said: ["cart ISTHMUS_SPLIT_PORT spec.backends[1].service", "cart ISTHMUS_SPLIT_PORT spec.backends[1].service"],
    });
  });

  it("that no backend has are the root's, and named; the others are split all the same", () => {
    const trafficSplits = [aSplit()];
    const two = aService({ ports: [aPort(), aPort({ name: "grpc-api", port: 9090 })] });
    const all = [two, aService({ name: "cart-v1" }), aService({ name: "cart-v2" })];
    const said = [0, 1].map((place) => `cart ISTHMUS_SPLIT_PORT spec.backends[${place}].service`);
    expect(outcome({ services: all, trafficSplits })).toEqual({ shares: [canary], said });
    for (const { message } of buildIr(someInputs({ services: all, trafficSplits })).problems)
      expect(message).toMatch(/has no port 9090 .*calls go to the root service/);
  });

  it("that are none of the root's put the split out of force, once for all of them", () => {
    const other = (name: string) => aService({ name, ports: [aPort({ port: 8000 })] });
    const { shares, said } = outcome({
      services: [root, other("cart-v1"), other("cart-v2")],
      trafficSplits: [aSplit()],
    });
    expect(shares).toEqual([]);
    expect(said.filter((one) => !one.includes("SPLIT_PORT"))).toEqual(["cart ISTHMUS_SPLIT_WEIGHTS spec.backends"]);
    expect(said).toHaveLength(7);
  });

  it("of raw TCP have no header to match, so a split with matches leaves them to the root", () => {
    const matches = [{ kind: "HTTPRouteGroup", name: "cart" }];
    const all = { services: [root, v1], httpRouteGroups: [aRouteGroup()] };
    const backends = [{ service: "cart-v1", weight: 1 }];
    expect(outcome({ ...all, trafficSplits: [aSplit({ matches, backends })] }).shares).toEqual([
      "cluster/shop/cart:80 cluster/shop/cart-v1=1",
      "cluster/shop/cart:9090 cluster/shop/cart-v1=1",
    ]);
  });
});

describe("the matches of a split", () => {
  const group = (name: string, header: string): HttpRouteGroupInput =>
    aRouteGroup({
      name,
      matches: [{ name: "one", pathRegex: "", methods: ["*"], headers: [{ name: header, valueRegex: "yes" }] }],
    });
  const matchesOf = (...names: readonly string[]) => {
    const matches = names.map((name) => ({ kind: "HTTPRouteGroup", name }));
    const httpRouteGroups = [group("a", "X-Beta"), group("b", "host")];
    return buildIr(someInputs({ services, httpRouteGroups, trafficSplits: [aSplit({ matches })] }));
  };

  it("are those of all its groups together", () => {
    const { ir, problems } = matchesOf("b", "a", "a");
    expect(ir.splits[0]?.matches).toEqual([
      { pathRegex: "", methods: [], headers: [{ name: ":authority", valueRegex: "yes" }] },
      { pathRegex: "", methods: [], headers: [{ name: "x-beta", valueRegex: "yes" }] },
    ]);
    expect(problems).toEqual([]);
  });

  it("by a group that does not exist are none: nothing is split by it, and it is said", () => {
    const { ir, problems } = matchesOf("missing");
    expect(ir.splits[0]?.matches).toEqual([]);
    expect(problems).toMatchObject([{ code: "ISTHMUS_SPLIT_MATCH", field: "spec.matches[0].name" }]);
  });
});

describe("of several splits", () => {
  it("the oldest of a root is in force, and the others name it", () => {
    const backends = [{ service: "pay", weight: 1 }];
    const young = aSplit({ name: "a-young", createdAtMs: 2, backends });
    expect(outcome({ trafficSplits: [young, aSplit({ createdAtMs: 1, service: "cart.shop" })] })).toEqual({
      shares: [canary],
      said: ["a-young ISTHMUS_SPLIT_CONFLICT spec.service"],
    });
    const { problems } = buildIr(someInputs({ services, trafficSplits: [young, aSplit({ createdAtMs: 1 })] }));
    expect(problems[0]?.message).toContain('"shop/cart"');
  });

  it("the name decides between two of one second", () => {
    const both = [aSplit({ name: "b", backends: [{ service: "pay", weight: 1 }] }), aSplit({ name: "a" })];
    expect(outcome({ trafficSplits: both })).toEqual({
      shares: [canary],
      said: ["b ISTHMUS_SPLIT_CONFLICT spec.service"],
    });
  });

  it("one that closes a circle is out of force, the older stay", () => {
    const to = (service: string) => [{ service, weight: 1 }];
    const trafficSplits = [
      aSplit({ name: "one", createdAtMs: 1, service: "cart", backends: to("cart-v1") }),
      aSplit({ name: "two", createdAtMs: 2, service: "cart-v1", backends: to("cart-v2") }),
      aSplit({ name: "three", createdAtMs: 3, service: "cart-v2", backends: [...to("pay"), ...to("cart")] }),
    ];
    const { shares, said } = outcome({ trafficSplits });
    expect(shares).toEqual([
      "cluster/shop/cart:80 cluster/shop/cart-v1=1",
      "cluster/shop/cart-v1:80 cluster/shop/cart-v2=1",
    ]);
    expect(said).toEqual(["three ISTHMUS_SPLIT_CYCLE spec.backends[1].service"]);
  });

  it("one whose root is its own backend is out of force", () => {
    const backends = [{ service: "cart.shop.svc.cluster.local", weight: 1 }];
    expect(outcome({ trafficSplits: [aSplit({ backends })] })).toEqual({
      shares: [],
      said: ["cart ISTHMUS_SPLIT_CYCLE spec.backends[0].service"],
    });
  });

  it("one whose root does not exist waits for it, and says so", () => {
    expect(outcome({ trafficSplits: [aSplit({ service: "later" })] })).toEqual({
      shares: [],
      said: ["cart ISTHMUS_SPLIT_ROOT spec.service"],
    });
  });

  const names = ["a", "b", "c", "d"];
  const anySplit = fc.record({
    createdAtMs: fc.nat({ max: 2 }),
    service: fc.constantFrom(...names),
    backends: fc.array(fc.record({ service: fc.constantFrom(...names), weight: fc.nat({ max: 3 }) }), { maxLength: 3 }),
  });

  it("those in force never lead in a circle, and no root has two, in whatever order they are read", () => {
    fc.assert(
      fc.property(fc.array(anySplit, { maxLength: 6 }), (drafts) => {
        const trafficSplits = drafts.map((draft, index) => aSplit({ ...draft, name: `s${index}` }));
        const all = names.map((name) => aService({ name }));
        const { ir } = buildIr(someInputs({ services: all, trafficSplits }));
        const backwards = buildIr(someInputs({ services: all, trafficSplits: [...trafficSplits].reverse() }));
        expect(backwards.ir.splits).toEqual(ir.splits);
        const next = new Map(
          ir.splits.map(({ root, ports }) => [root, ports[0]?.backends.map(({ service }) => service) ?? []]),
        );
        expect(next.size).toBe(ir.splits.length);
        const leads = (from: string, steps: number): boolean =>
          steps < 0 || (next.get(from) ?? []).some((to) => leads(to, steps - 1));
        for (const root of next.keys()) expect(leads(root, names.length)).toBe(false);
      }),
    );
  });
});
