import { describe, expect, it, test } from "vitest";
import { parseTrafficSplit } from "./traffic-split.ts";

function split(version: string, spec: object, metadata: object = {}): object {
  return {
    apiVersion: `split.smi-spec.io/${version}`,
    kind: "TrafficSplit",
    metadata: { namespace: "shop", name: "cart", creationTimestamp: "2026-01-01T00:00:00Z", ...metadata },
    spec,
  };
}
const backends = [
  { service: "cart-v1", weight: 90 },
  { service: "cart-v2", weight: 10 },
];
const read = {
  namespace: "shop",
  name: "cart",
  createdAtMs: Date.UTC(2026, 0, 1),
  service: "cart.shop.svc.cluster.local.",
  backends,
  matches: [],
};

describe("a TrafficSplit", () => {
  test.each(["v1alpha2", "v1alpha3", "v1alpha4"])("of %s is read with its weights as they are", (version) => {
    expect(parseTrafficSplit(split(version, { service: read.service, backends }))).toEqual({ ok: true, value: read });
  });

  it("of v1alpha1 is read in the ratio of its quantities", () => {
    const quantities = [
      { service: "cart-v1", weight: "900m" },
      { service: "cart-v2", weight: "0.1" },
    ];
    const parsed = parseTrafficSplit(split("v1alpha1", { service: "cart", backends: quantities }));
    expect(parsed.ok && parsed.value?.backends.map(({ weight }) => weight)).toEqual([900, 100]);
  });

  it("may match by groups, whose apiGroup means nothing", () => {
    const matches = [{ apiGroup: "specs.smi-spec.io", kind: "HTTPRouteGroup", name: "beta" }];
    const parsed = parseTrafficSplit(split("v1alpha4", { service: "cart", backends, matches }));
    expect(parsed.ok && parsed.value?.matches).toEqual([{ kind: "HTTPRouteGroup", name: "beta" }]);
  });

  it("that is being deleted splits nothing", () => {
    const going = split("v1alpha4", { service: "cart", backends }, { deletionTimestamp: "2026-01-02T00:00:00Z" });
    expect(parseTrafficSplit(going)).toEqual({ ok: true, value: undefined });
  });

  test.each<[string, string, object, string]>([
    ["no service", "v1alpha4", { backends }, "spec.service is missing"],
    ["a name that is none", "v1alpha4", { service: "Cart_1", backends }, "spec.service must be the name"],
    ["an absolute URL", "v1alpha4", { service: "http://cart", backends }, "spec.service must be the name"],
    ["no backends", "v1alpha4", { service: "cart" }, "spec.backends is missing"],
    ["no weight", "v1alpha2", { service: "c", backends: [{ service: "a" }] }, "spec.backends[0].weight is missing"],
    ["a negative weight", "v1alpha2", { service: "c", backends: [{ service: "a", weight: -1 }] }, "from 0 to"],
    ["half a weight", "v1alpha2", { service: "c", backends: [{ service: "a", weight: 0.5 }] }, "whole number"],
    ["a weight in words", "v1alpha1", { service: "c", backends: [{ service: "a", weight: "ten" }] }, "is no quantity"],
    [
      "weights too far apart",
      "v1alpha1",
      {
        service: "c",
        backends: [
          { service: "a", weight: "1n" },
          { service: "b", weight: "1k" },
        ],
      },
      "at most 1000000000",
    ],
    [
      "a match of another kind",
      "v1alpha4",
      { service: "c", backends, matches: [{ kind: "TCPRoute", name: "x" }] },
      "spec.matches[0].kind must be HTTPRouteGroup",
    ],
    [
      "weights beyond 32 bits together",
      "v1alpha4",
      { service: "c", backends: Array.from({ length: 5 }, (_, i) => ({ service: `s${i}`, weight: 1_000_000_000 })) },
      "weigh more than 4294967295",
    ],
  ])("with %s (%s) is refused with the field that is wrong", (_what, version, spec, reason) => {
    const parsed = parseTrafficSplit(split(version, spec));
    const said = parsed.ok ? "" : parsed.error.map(({ field, message }) => `${field ?? ""} ${message}`).join("; ");
    expect(said).toContain(reason);
  });
});
