import fc from "fast-check";
import { expect, test } from "vitest";
import type { ClusterName } from "../../shared/ids.ts";
import { sniFits, sniName } from "../ir/sni.ts";
import { formatName, healthSni, parseName, parseSni, type ResourceName } from "./names.ts";
import { fleetDomain } from "./testing/mesh-case.ts";

const port = fc.integer({ min: 1, max: 65535 });
/** Anything at all, with the characters that matter to us made likely. */
const part = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom("|", "%", "7", "C", "2", "5", "a", ".") }));
const servicePort = {
  scope: fc.constantFrom("cluster" as const, "fleet" as const),
  namespace: part,
  service: part,
  port,
};
const exported = { namespace: part, service: part, port };

const anyName: fc.Arbitrary<ResourceName> = fc.oneof(
  fc.record({ kind: fc.constantFrom("outbound" as const, "balanced" as const, "identities" as const), ...servicePort }),
  fc.record({ kind: fc.constant("requests" as const), version: part, ...servicePort }),
  fc.record({ kind: fc.constantFrom("inbound" as const, "inbound-plaintext" as const, "callers" as const), port }),
  fc.record({
    kind: fc.constant("application" as const),
    port,
    protocol: fc.constantFrom("h1" as const, "h2" as const, "same" as const, "tcp" as const),
  }),
  fc.record({ kind: fc.constantFrom("bound-inbound" as const, "bound-outbound" as const), address: part, port }),
  fc.record({ kind: fc.constantFrom("inbound-foreign" as const, "foreign-callers" as const), port, fleet: part }),
  fc.record({ kind: fc.constant("foreign-roots" as const), fleet: part }),
  fc.record({ kind: fc.constant("export" as const), ...exported }),
  fc.record({ kind: fc.constant("export-chain" as const), ...exported, peer: part }),
);

test("a name is read back as what it was made of, whatever is in its parts", () => {
  fc.assert(
    fc.property(anyName, (name) => {
      expect(parseName(formatName(name))).toEqual({ ok: true, value: name });
    }),
  );
});

test("two different things never have one name", () => {
  fc.assert(
    fc.property(anyName, anyName, (one, other) => {
      if (JSON.stringify(one) !== JSON.stringify(other)) expect(formatName(one)).not.toBe(formatName(other));
    }),
  );
});

test.each([
  "",
  "outbound",
  "outbound|fleet|shop|cart",
  "outbound|mars|shop|cart|80",
  "outbound|fleet|shop|cart|080",
  "inbound|65536",
  "inbound|80|x",
  "svid",
  "outbound|fleet|a%7cb|c|80",
])("%j is no name of ours", (text) => {
  expect(parseName(text).ok).toBe(false);
});

const label = fc
  .stringMatching(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/)
  .filter((text) => !["agent", "hub", "sni", "root", "all"].includes(text));
const cluster = label.map((text) => text as ClusterName);

test("an SNI name is read back as what it was made of", () => {
  fc.assert(
    fc.property(fc.record({ port, service: label, namespace: label, caller: cluster, callee: cluster }), (parts) => {
      const fits = sniFits({ ...parts, fleetDomain });
      const read = parseSni(sniName({ ...parts, fleetDomain }), fleetDomain);
      if (fits) expect(read).toEqual({ ok: true, value: { kind: "service", ...parts } });
      else expect(read.ok).toBe(false);
    }),
  );
});

test("the health name of a gateway is read back", () => {
  expect(parseSni(healthSni("west" as ClusterName, fleetDomain), fleetDomain)).toEqual({
    ok: true,
    value: { kind: "health", cluster: "west" },
  });
});

test.each([
  ["of another fleet", "p80.cart.shop.east.west.sni.evil.mesh"],
  ["that only ends like ours", "p80.cart.shop.east.west.sni.notacme.mesh"],
  ["with a service name that holds a dot", "p80.cart.x.shop.east.west.sni.acme.mesh"],
  ["without a part", "p80.cart..east.west.sni.acme.mesh"],
  ["with a port out of range", "p70000.cart.shop.east.west.sni.acme.mesh"],
  ["with a leading zero", "p080.cart.shop.east.west.sni.acme.mesh"],
  ["of a reserved member", "p80.cart.shop.east.hub.sni.acme.mesh"],
  ["that is too long", `p80.${"c".repeat(250)}.shop.east.west.sni.acme.mesh`],
])("a name %s is no SNI of ours", (_what, text) => {
  expect(parseSni(text, fleetDomain).ok).toBe(false);
});
