import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { fieldOf, type JsonObject } from "../kube/json.ts";
import { parseHttpRouteGroup } from "../kube/parse/http-route-group.ts";
import { parseTcpRoute } from "../kube/parse/tcp-route.ts";
import { parseTrafficSplit } from "../kube/parse/traffic-split.ts";
import { parseTrafficTarget } from "../kube/parse/traffic-target.ts";
import { convert, toStored } from "./convert.ts";
import { keptAnnotation, MAX_KEPT_BYTES } from "./kept.ts";
import { anySmiObject } from "./testing/arbitrary.ts";
import { apiVersionsOf, isSmiKind } from "./versions.ts";

function converted(object: JsonObject, apiVersion: string): JsonObject {
  const result = convert(object, apiVersion);
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
}

/** The same object by way of these versions of its kind, chosen by number. */
function byWayOf(object: JsonObject, ways: readonly number[]): JsonObject {
  const kind = String(object["kind"]);
  if (!isSmiKind(kind)) throw new Error(kind);
  const versions = apiVersionsOf(kind);
  return ways.reduce((at, way) => converted(at, versions[way % versions.length]!), object);
}

const parsers: Readonly<Record<string, (object: unknown) => unknown>> = {
  TrafficTarget: parseTrafficTarget,
  HTTPRouteGroup: parseHttpRouteGroup,
  TCPRoute: parseTcpRoute,
  TrafficSplit: parseTrafficSplit,
};
const ways = fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 5 });

describe("an SMI object of any kind and version", () => {
  it("reads back as it was written, by way of any other versions", () => {
    fc.assert(
      fc.property(anySmiObject, ways, (object, path) => {
        expect(converted(byWayOf(object, path), String(object["apiVersion"]))).toEqual(object);
      }),
      { numRuns: 2_000 },
    );
  });

  it("means the same in every version", () => {
    fc.assert(
      fc.property(anySmiObject, ways, (object, path) => {
        const parse = parsers[String(object["kind"])];
        expect(parse?.(byWayOf(object, path))).toEqual(parse?.(object));
      }),
      { numRuns: 1_000 },
    );
  });

  it("keeps every name, label and annotation of its author", () => {
    fc.assert(
      fc.property(anySmiObject, ways, (object, path) => {
        const { metadata, status } = byWayOf(object, path);
        expect(metadata).toMatchObject(object["metadata"] as object);
        expect(status).toEqual(object["status"]);
      }),
    );
  });
});

function smi(apiVersion: string, kind: string, rest: JsonObject, annotations?: JsonObject): JsonObject {
  return {
    apiVersion,
    kind,
    metadata: { namespace: "shop", name: "cart", ...(annotations && { annotations }) },
    ...rest,
  };
}
const backends = (one: unknown, other: unknown) => [
  { service: "cart-v1", weight: one },
  { service: "cart-v2", weight: other },
];
const matches = [{ kind: "HTTPRouteGroup", name: "beta" }];

describe("a writer who uses an older version", () => {
  it("changes the weights of a split and leaves its matches", () => {
    const newest = smi("split.smi-spec.io/v1alpha4", "TrafficSplit", {
      spec: { service: "cart", backends: backends(90, 10), matches },
    });
    const seen = converted(newest, "split.smi-spec.io/v1alpha2");
    expect(seen["spec"]).toEqual({ service: "cart", backends: backends(90, 10) });
    const written = converted(
      { ...seen, spec: { service: "cart", backends: backends(50, 50) } },
      "split.smi-spec.io/v1alpha4",
    );
    expect(written).toEqual({ ...newest, spec: { service: "cart", backends: backends(50, 50), matches } });
  });

  it("changes weights, and quantities that no longer hold are forgotten", () => {
    const oldest = smi("split.smi-spec.io/v1alpha1", "TrafficSplit", {
      spec: { service: "cart", backends: backends("500m", "1") },
    });
    const stored = converted(oldest, "split.smi-spec.io/v1alpha4");
    expect(stored["spec"]).toEqual({ service: "cart", backends: backends(500, 1000) });
    const changed = { ...stored, spec: { service: "cart", backends: backends(1, 0) } };
    expect(converted(changed, "split.smi-spec.io/v1alpha1")["spec"]).toEqual({
      service: "cart",
      backends: backends(1, 0),
    });
  });

  it("changes a path and leaves the headers that the version cannot show", () => {
    const group = smi("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", {
      spec: {
        matches: [
          { name: "a", pathRegex: "/a" },
          { name: "b", pathRegex: "/b", headers: { "x-user": "1" } },
        ],
      },
    });
    const seen = converted(group, "specs.smi-spec.io/v1alpha1");
    expect(seen["matches"]).toEqual([
      { name: "a", pathRegex: "/a" },
      { name: "b", pathRegex: "/b" },
    ]);
    const written = { ...seen, matches: [{ name: "b", pathRegex: "/other" }] };
    expect(converted(written, "specs.smi-spec.io/v1alpha4")["spec"]).toEqual({
      matches: [{ name: "b", pathRegex: "/other", headers: { "x-user": "1" } }],
    });
  });

  it("takes the port of a target away, and it no longer restricts", () => {
    const target = (destination: object) => ({ destination, sources: [], specs: [] });
    const account = { kind: "ServiceAccount", name: "cart" };
    const oldest = smi("access.smi-spec.io/v1alpha1", "TrafficTarget", target({ ...account, port: 8080 }));
    const stored = converted(oldest, "access.smi-spec.io/v1alpha3");
    expect(fieldOf(stored, "metadata", "annotations")).toEqual({ "isthmus.dev/destination-port": "8080" });
    const seen = converted(stored, "access.smi-spec.io/v1alpha1");
    expect(seen).toEqual(oldest);
    expect(converted({ ...seen, ...target(account) }, "access.smi-spec.io/v1alpha3")["metadata"]).toEqual(
      oldest["metadata"],
    );
  });

  it("cannot write what says more than may be kept, but can read it", () => {
    const long = { name: "a", headers: { "x-user": "u".repeat(MAX_KEPT_BYTES) } };
    const group = smi("specs.smi-spec.io/v1alpha4", "HTTPRouteGroup", { spec: { matches: [long] } });
    const seen = converted(group, "specs.smi-spec.io/v1alpha1");
    expect(seen["matches"]).toEqual([{ name: "a" }]);
    expect(JSON.stringify(seen).length).toBeLessThan(1_000);
    const written = convert(seen, "specs.smi-spec.io/v1alpha4");
    expect(written.ok ? undefined : written.error[0]?.message).toContain("write it as v1alpha4");
  });
});

describe("an object from outside", () => {
  test.each<[string, JsonObject, string]>([
    ["a kind that is none of SMI's", smi("v1", "Service", {}), "v1"],
    ["a version that never was", smi("split.smi-spec.io/v1", "TrafficSplit", {}), "split.smi-spec.io/v1alpha4"],
    [
      "a version that is wanted and never was",
      smi("split.smi-spec.io/v1alpha4", "TrafficSplit", {}),
      "split.smi-spec.io/v2",
    ],
    ["another group", smi("split.smi-spec.io/v1alpha4", "TrafficSplit", {}), "specs.smi-spec.io/v1alpha4"],
  ])("of %s is not converted", (_what, object, wanted) => {
    expect(convert(object, wanted)).toMatchObject({ ok: false, error: [{ code: "ISTHMUS_SMI_VERSION" }] });
  });

  test.each<[string, JsonObject]>([
    ["no body", {}],
    ["a body of another form", { spec: [], matches: {}, destination: 1, specs: "x" }],
    ["nulls", { spec: null, matches: null, destination: null, specs: null }],
    [
      "lists of nulls",
      { spec: { backends: [null], matches: [null], destination: null, rules: [null] }, matches: [null] },
    ],
  ])("with %s is converted without a fault", (_what, body) => {
    for (const kind of ["TrafficTarget", "HTTPRouteGroup", "TCPRoute", "UDPRoute", "TrafficSplit"] as const)
      for (const from of apiVersionsOf(kind)) for (const to of apiVersionsOf(kind)) convert(smi(from, kind, body), to);
  });

  test.each([
    ["not JSON"],
    ["[]"],
    ["null"],
    ['{"v1alpha4":7}'],
    ['{"v1alpha4":{"matches":7,"headers":[1,[2]],"places":{}}}'],
  ])("with a text of its own where details are kept (%s) is read without them", (text) => {
    const split = smi(
      "split.smi-spec.io/v1alpha2",
      "TrafficSplit",
      { spec: { service: "c", backends: backends(1, 1) } },
      { [keptAnnotation]: text },
    );
    const stored = toStored(split);
    expect(stored.ok && stored.value["spec"]).toEqual(split["spec"]);
  });
});
