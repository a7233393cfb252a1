import { describe, expect, test } from "vitest";
import { parseManifests } from "../testing/helm.ts";
import { containersOf, restrictedViolations, workloadsOf } from "../testing/pods.ts";
import { shopManifests, shopParts, type ShopPart } from "./manifests.ts";

const all: readonly ShopPart[] = ["namespace", "storefront", "cart", "catalog", "visitor"];
const shop = parseManifests(shopManifests(all, "registry.example/isthmus:dev-1"));

describe("the demo shop", () => {
  test("runs everywhere from the image that was built", () => {
    const images = workloadsOf(shop).flatMap(({ spec }) => containersOf(spec).map(({ image }) => image));
    expect(images).toHaveLength(4);
    expect(new Set(images)).toEqual(new Set(["registry.example/isthmus:dev-1"]));
  });

  test("meets the restricted Pod Security Standard before the sidecar is added", () => {
    expect(workloadsOf(shop).flatMap(restrictedViolations)).toEqual([]);
  });

  test("has the catalog only away from the storefront that calls it", () => {
    expect(shopParts["east"]).toContain("storefront");
    expect(shopParts["east"]).not.toContain("catalog");
    expect(Object.entries(shopParts).filter(([, parts]) => parts.includes("catalog"))).toHaveLength(2);
  });

  test("grants by policies that name routes and accounts which exist", () => {
    const named = (kind: string) =>
      shop.filter((manifest) => manifest.kind === kind).map(({ metadata }) => metadata.name);
    for (const target of shop.filter(({ kind }) => kind === "TrafficTarget")) {
      const { destination, sources, rules } = target["spec"] as {
        destination: { name: string };
        sources: { name: string }[];
        rules: { name: string; matches: string[] }[];
      };
      expect(named("ServiceAccount")).toEqual(
        expect.arrayContaining([destination.name, ...sources.map(({ name }) => name)]),
      );
      for (const rule of rules) {
        const group = shop.find(({ kind, metadata }) => kind === "HTTPRouteGroup" && metadata.name === rule.name);
        const { matches } = group?.["spec"] as { matches: { name: string }[] };
        expect(matches.map(({ name }) => name)).toEqual(expect.arrayContaining(rule.matches));
      }
    }
    expect(JSON.stringify(shop.filter(({ kind }) => kind === "TrafficTarget"))).not.toContain("visitor");
  });
});
