// The index of grants: whatever changed, it says what a look at every grant would say.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { followGrants, grantsOfName, grantsTo, namesCaller } from "./grants.ts";
import type { GrantIr } from "./types.ts";

const accounts = ["cart", "web", "db"].map((serviceAccount) => ({ namespace: "shop", serviceAccount }));

const grant = fc
  .record({
    name: fc.integer({ min: 100, max: 140 }).map((number) => `t${number}`),
    sources: fc.uniqueArray(
      fc.record({ account: fc.constantFrom(...accounts), cluster: fc.constantFrom("*", "east", "west") }),
      { maxLength: 3, selector: ({ account, cluster }) => `${account.serviceAccount}${cluster}` },
    ),
    to: fc.constantFrom(...accounts),
  })
  .map(({ name, sources, to }): GrantIr => ({
    origin: { kind: "TrafficTarget", namespace: "shop", name },
    sources: sources.map(({ account, cluster }) => ({ ...account, cluster })),
    destinationNamespace: to.namespace,
    destinationServiceAccount: to.serviceAccount,
    ports: [],
    http: "any",
  }));

const sortedGrants = fc
  .uniqueArray(grant, { selector: ({ origin }) => origin.name, minLength: 10, maxLength: 30 })
  .map((list) => list.sort((a, b) => (a.origin.name < b.origin.name ? -1 : 1)));

/** Some gone, some replaced by another of the same name. */
const changes = fc.record({
  gone: fc.array(fc.nat(), { maxLength: 2 }),
  replaced: fc.array(fc.tuple(fc.nat(), grant), { maxLength: 2 }),
});

function changed(
  list: readonly GrantIr[],
  { gone, replaced }: typeof changes extends fc.Arbitrary<infer T> ? T : never,
): readonly GrantIr[] {
  const next = [...list];
  for (const [place, other] of replaced) {
    const at = place % next.length;
    const old = next[at];
    if (old !== undefined) next[at] = { ...other, origin: old.origin };
  }
  for (const place of gone) next.splice(place % next.length, 1);
  return next;
}

describe("the grants of an account", () => {
  it("are those that a look at every grant finds, in the same order, however the index came about", () => {
    fc.assert(
      fc.property(sortedGrants, fc.array(changes, { maxLength: 4 }), (first, steps) => {
        let list: readonly GrantIr[] = first;
        grantsTo(list, { namespace: "shop", serviceAccount: "cart" });
        for (const step of steps) {
          const next = changed(list, step);
          followGrants(list, next);
          list = next;
          for (const account of accounts) {
            const to = list.filter((each) => each.destinationServiceAccount === account.serviceAccount);
            expect(grantsTo(list, account)).toEqual(to);
            const from = list.filter((each) => ["east", "west"].some((member) => namesCaller(each, account, member)));
            expect(grantsOfName(list, account)).toEqual(from);
          }
        }
      }),
    );
  });

  it("stay the same list while another account's change", () => {
    const list = ["cart", "web", "db", "cart", "web", "db", "cart", "web"].map((to, index): GrantIr => ({
      origin: { kind: "TrafficTarget", namespace: "shop", name: `t${index}` },
      sources: [{ namespace: "shop", serviceAccount: "web", cluster: "east" }],
      destinationNamespace: "shop",
      destinationServiceAccount: to,
      ports: [],
      http: "any",
    }));
    const cart = grantsTo(list, { namespace: "shop", serviceAccount: "cart" });
    const next = list.map((each, index) => (index === 2 ? { ...each, ports: [80] } : each));
    followGrants(list, next);
    expect(grantsTo(next, { namespace: "shop", serviceAccount: "cart" })).toBe(cart);
    expect(grantsTo(next, { namespace: "shop", serviceAccount: "db" })[0]?.ports).toEqual([80]);
  });
});
