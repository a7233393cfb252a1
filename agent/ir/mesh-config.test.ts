import { describe, expect, it } from "vitest";
import { meshConfigProblems, standingMeshConfig } from "./mesh-config.ts";
import { aMeshConfig } from "./testing/objects.ts";

const systemNamespace = "isthmus-system";
const named = (...namespaces: readonly string[]) => namespaces.map((namespace) => aMeshConfig({ namespace }));

describe("the MeshConfig that counts", () => {
  it.each([
    { about: "is the agent's namespace's", from: ["osm-system", systemNamespace, "shop"], counts: systemNamespace },
    { about: "is OSM's own where the agent's namespace has none", from: ["a", "osm-system"], counts: "osm-system" },
    { about: "is nobody else's: it could open the whole mesh", from: ["shop"], counts: undefined },
  ])("$about", ({ from, counts }) => {
    expect(standingMeshConfig({ meshConfigs: named(...from), systemNamespace })?.namespace).toBe(counts);
  });

  it("is one, and the authors of the others are told which", () => {
    const problems = meshConfigProblems({ meshConfigs: named("shop", "osm-system"), systemNamespace });
    expect(problems).toMatchObject([
      { code: "ISTHMUS_MESH_CONFIG_PLACE", object: { kind: "MeshConfig", namespace: "shop", name: "osm-mesh-config" } },
    ]);
    expect(problems[0]?.message).toContain("the one in osm-system counts");
  });

  it("names what it asks for in vain", () => {
    const unmet = ["spec.traffic.inboundExternalAuthorization.enable"];
    const problems = meshConfigProblems({ meshConfigs: [aMeshConfig({ unmet })], systemNamespace });
    expect(problems).toMatchObject([{ code: "ISTHMUS_MESH_CONFIG_FIELD", field: unmet[0] }]);
  });
});
