// Any interleaving of requests, answers, publications and reconnects must end with the client having what is published.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Protocol } from "./order.ts";
import { resourceTypes, type EncodedResource, type ResourceType, type Snapshot } from "./resource.ts";
import { aResource, modelClient, snapshotOf, type ModelClient } from "./testing/model-client.ts";

const names = ["a", "b", "c", "d"];

/** Up to four clusters with their endpoints; a listener, a route table and two filters of it that name them, one of them by a route table. */
const snapshots: fc.Arbitrary<Snapshot> = fc
  .record({
    clusters: fc.uniqueArray(fc.record({ name: fc.constantFrom(...names), version: fc.nat(3), endpoints: fc.nat(3) }), {
      selector: (one) => one.name,
    }),
    listener: fc.nat(2),
    routes: fc.nat(2),
    filter: fc.nat(2),
    requests: fc.nat(2),
    secret: fc.nat(2),
  })
  .map(({ clusters, listener, routes, filter, requests, secret }) => {
    const resources: EncodedResource[] = [];
    for (const { name, version, endpoints } of clusters) {
      resources.push(aResource("cds", name, `v${version}`, [{ type: "eds", name }]));
      resources.push(aResource("eds", name, `e${endpoints}`));
    }
    const toClusters = clusters.map(({ name }) => ({ type: "cds" as const, name }));
    const of = clusters.map(({ name }) => name).join("");
    const named = [
      { type: "rds" as const, name: "table" },
      ...(filter === 0 ? [] : [{ type: "ecds" as const, name: "filter" }]),
      ...(requests === 0 ? [] : [{ type: "ecds" as const, name: "requests" }]),
    ];
    const version = named.map(({ name }) => name).join("");
    resources.push(aResource("lds", "in", `l${listener}${version}`, named));
    resources.push(aResource("rds", "table", `r${routes}${of}`, toClusters));
    if (filter > 0) resources.push(aResource("ecds", "filter", `f${filter}${of}`, toClusters));
    if (requests > 0) {
      resources.push(aResource("ecds", "requests", `q${requests}`, [{ type: "rds", name: "its-table" }]));
      resources.push(aResource("rds", "its-table", `t${routes}${of}`, toClusters));
    }
    if (secret > 0) resources.push(aResource("sds", "roots", `s${secret}`));
    return snapshotOf(resources);
  });

type Step = (client: ModelClient) => void;

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Step>((client) => void client.deliverRequest()) },
  { weight: 3, arbitrary: fc.constant<Step>((client) => void client.deliverResponse()) },
  {
    weight: 2,
    arbitrary: snapshots.map(
      (one): Step =>
        (client) =>
          client.publish(one),
    ),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(
        fc.constantFrom(...resourceTypes),
        fc.uniqueArray(fc.constantFrom(...names, "in", "table", "filter", "requests", "its-table"), { minLength: 1 }),
      )
      .map(
        ([type, some]): Step =>
          (client) =>
            client.subscribe(type, some),
      ),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(...resourceTypes), fc.uniqueArray(fc.constantFrom(...names), { minLength: 1 }))
      .map(
        ([type, some]): Step =>
          (client) =>
            client.unsubscribe(type, some),
      ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(...resourceTypes).map(
      (type): Step =>
        (client) =>
          client.subscribeAll(type),
    ),
  },
  { weight: 1, arbitrary: fc.constant<Step>((client) => client.reconnect()) },
);

/** What the client should have of a type, and has. */
function compared(client: ModelClient, type: ResourceType, target: Snapshot) {
  const side = client.sides[type];
  const due = [...target.resources[type].values()].filter(
    (one) => side.asked && (side.wildcard || side.names.has(one.name)),
  );
  const versions = (some: Iterable<EncodedResource>) =>
    Object.fromEntries([...some].map((one) => [one.name, one.version] as const).sort());
  return { want: versions(due), has: versions(side.has.values()) };
}

/** Else the client keeps what it asked for by name until it unsubscribes: what ends with a listener, and in SotW endpoints and secrets too. */
function tellsRemoval(protocol: Protocol, type: ResourceType, wildcard: boolean): boolean {
  if (type === "cds" || type === "lds") return true;
  return protocol === "delta" && (wildcard || type === "eds" || type === "sds");
}

describe.each(["delta", "sotw"] as const)("a %s stream", (protocol) => {
  it("ends with what is published and asked for, whatever came in between", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), snapshots, (steps, last) => {
        const client = modelClient(protocol);
        for (const one of steps) one(client);
        client.publish(last);
        client.settle();
        for (const type of resourceTypes) {
          const { want, has } = compared(client, type, last);
          if (tellsRemoval(protocol, type, client.sides[type].wildcard))
            expect({ type, ...has }).toEqual({ type, ...want });
          else expect({ type, ...has }).toMatchObject({ type, ...want });
        }
      }),
      { numRuns: 400 },
    );
  });

  it("is silent when equal content is published again", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), snapshots, (steps, last) => {
        const client = modelClient(protocol);
        for (const one of steps) one(client);
        client.publish(last);
        client.settle();
        const before = client.responses;
        client.publish(
          snapshotOf(resourceTypes.flatMap((type) => [...last.resources[type].values()].map((one) => ({ ...one })))),
        );
        client.settle();
        expect(client.responses).toBe(before);
      }),
      { numRuns: 200 },
    );
  });

  it("makes before it breaks: no route without its cluster at any moment, and nothing left warming", () => {
    // what Envoy does by itself: it asks for what its clusters, listeners and filters name, and for nothing else
    const follow: Step = (client) => {
      const { cds, lds, ecds } = client.sides;
      const needs = [cds, lds, ecds].flatMap(({ has }) => [...has.values()]).flatMap((one) => one.needs);
      for (const type of ["eds", "ecds", "rds"] as const) {
        const named = new Set(needs.filter((need) => need.type === type).map(({ name }) => name));
        client.subscribe(type, [...named]);
        client.unsubscribe(
          type,
          [...client.sides[type].names].filter((name) => !named.has(name)),
        );
      }
    };
    fc.assert(
      fc.property(
        fc.array(fc.tuple(snapshots, fc.array(fc.boolean(), { maxLength: 12 })), { maxLength: 8 }),
        (pushes) => {
          // in SotW nobody can say that endpoints do not exist: there Envoy waits for its time-out
          const client = modelClient(protocol, { warmsClusters: protocol === "delta" });
          client.subscribeAll("cds");
          client.subscribeAll("lds");
          for (const [snapshot, turns] of pushes) {
            client.publish(snapshot);
            for (const turn of turns) {
              if (turn) client.deliverResponse();
              else client.deliverRequest();
              follow(client);
            }
          }
          client.settle();
          // a cluster's endpoints, what waited for it, a listener's filter, that filter's routes, and what goes after each
          for (let depth = 0; depth < 8; depth += 1) {
            follow(client);
            client.settle();
          }
          expect(client.broken).toEqual([]);
          expect([...client.warming]).toEqual([]);
          const last = pushes.at(-1)?.[0] ?? snapshotOf([]);
          for (const type of ["cds", "lds"] as const) {
            const { want, has } = compared(client, type, last);
            expect({ type, ...has }).toEqual({ type, ...want });
          }
        },
      ),
      { numRuns: 400 },
    );
  });
});

describe("a reconnect of a delta stream", () => {
  const everything = (client: ModelClient) => {
    client.subscribeAll("cds");
    client.subscribe("eds", names);
    client.subscribeAll("lds");
    client.subscribe("rds", ["table", "its-table"]);
    client.subscribe("ecds", ["filter", "requests"]);
    client.subscribe("sds", ["roots"]);
  };

  it("sends nothing to a client that has what is published", () => {
    fc.assert(
      fc.property(snapshots, (published) => {
        const client = modelClient("delta");
        everything(client);
        client.publish(published);
        client.settle();
        const before = client.responses;
        client.reconnect();
        client.settle();
        // what was asked for by name and does not exist is told again: a client may wait for it
        const { eds, ecds, sds } = published.resources;
        const absent = names.some((name) => !eds.has(name)) || ecds.size < 2 || sds.size === 0;
        if (!absent) expect(client.responses).toBe(before);
        expect(client.warming.size).toBe(0);
      }),
    );
  });

  it("brings a client from what it has to what was published while it was away", () => {
    fc.assert(
      fc.property(snapshots, snapshots, (before, after) => {
        const client = modelClient("delta");
        everything(client);
        client.publish(before);
        client.settle();
        client.reconnect();
        client.publish(after);
        client.settle();
        for (const type of resourceTypes) {
          const { want, has } = compared(client, type, after);
          if (tellsRemoval("delta", type, false)) expect({ type, ...has }).toEqual({ type, ...want });
          else expect({ type, ...has }).toMatchObject({ type, ...want });
        }
        expect([...client.warming]).toEqual([]);
      }),
    );
  });
});

describe("a name asked for beside a wildcard", () => {
  it("is sent again when the client unsubscribes it: the wildcard still covers it, and the client may have dropped it", () => {
    const client = modelClient("delta");
    client.subscribeAll("cds");
    client.subscribe("cds", ["a"]);
    client.publish(snapshotOf([aResource("cds", "a", "v1"), aResource("cds", "b", "v1")]));
    client.settle();
    client.unsubscribe("cds", ["a"]);
    expect(client.sides.cds.has.has("a")).toBe(false);
    client.settle();
    expect([...client.sides.cds.has.keys()].sort()).toEqual(["a", "b"]);
  });
});

describe("a client that has not answered yet", () => {
  it("is sent the newest version only, and nothing when that is what it was sent last", () => {
    const client = modelClient("delta");
    client.subscribeAll("cds");
    const publish = (version: string) => client.publish(snapshotOf([aResource("cds", "a", version)]));
    publish("v1");
    client.deliverRequest();
    for (const version of ["v2", "v3", "v4"]) publish(version);
    expect(client.responses).toBe(1);
    client.settle();
    expect(client.responses).toBe(2);
    expect(client.sides.cds.has.get("a")?.version).toBe("v4");
    publish("v5");
    for (const version of ["v6", "v5"]) publish(version);
    client.settle();
    expect(client.responses).toBe(3);
  });
});

describe("a refusal", () => {
  it.each([true, false])("isolates the bad resources and delivers all others (Envoy names them: %s)", (named) => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(40), { minLength: 1, maxLength: 25 }),
        fc.uniqueArray(fc.nat(40), { maxLength: 4 }),
        (all, bad) => {
          const refused = new Set(bad.map((one) => `v${one}`));
          const client = modelClient("delta", { refuses: { versions: refused, named } });
          client.subscribeAll("cds");
          const snapshot = snapshotOf(all.map((one) => aResource("cds", `c${one}`, `v${one}`)));
          client.publish(snapshot);
          client.settle();
          const good = all.filter((one) => !bad.includes(one)).map((one) => `c${one}`);
          expect([...client.sides.cds.has.keys()].sort()).toEqual(good.sort());
        },
      ),
      { numRuns: 200 },
    );
  });

  it("finds one bad resource that Envoy names with two sendings of it", () => {
    const client = modelClient("delta", { refuses: { versions: new Set(["bad"]), named: true } });
    client.subscribeAll("cds");
    const many = Array.from({ length: 500 }, (_, index) =>
      aResource("cds", `c${index}`, index === 77 ? "bad" : "good"),
    );
    client.publish(snapshotOf(many));
    client.settle();
    expect(client.responses).toBe(3);
    expect(client.sides.cds.has.size).toBe(499);
  });

  it("keeps what the client had of a resource whose new version it refuses, and takes the next one", () => {
    const client = modelClient("delta", { refuses: { versions: new Set(["v2"]), named: true } });
    client.subscribeAll("cds");
    for (const version of ["v1", "v2"]) client.publish(snapshotOf([aResource("cds", "a", version)]));
    client.settle();
    const has = () => client.sides.cds.has.get("a")?.version;
    client.publish(snapshotOf([aResource("cds", "a", "v2")]));
    client.settle();
    client.publish(snapshotOf([aResource("cds", "a", "v3")]));
    client.settle();
    expect(has()).toBe("v3");
  });
});

it("a SotW client that asked for a cluster which never was keeps the others as long as something may refer to them", () => {
  const client = modelClient("sotw", { refuses: { versions: new Set(["without cart"]), named: false } });
  client.subscribeAll("cds");
  client.subscribe("rds", ["table"]);
  const cart = [aResource("cds", "cart", "v1"), aResource("cds", "pay", "v1")];
  const toCart = [{ type: "cds" as const, name: "cart" }];
  client.publish(snapshotOf([...cart, aResource("rds", "table", "to cart", toCart), aResource("lds", "in", "l", [])]));
  client.settle();
  client.publish(snapshotOf([aResource("cds", "pay", "v1"), aResource("rds", "table", "without cart")]));
  // the new table is under way, and will be refused
  client.subscribe("cds", ["ghost"]);
  client.deliverRequest();
  while (client.deliverResponse());
  expect([...client.sides.rds.has.values()].map(({ version }) => version)).toEqual(["to cart"]);
  expect([...client.sides.cds.has.keys()]).toContain("cart");
});
