import { describe, expect, it } from "vitest";
import { aMeshConfig } from "./testing/objects.ts";
import { allowsEgress, buildEgress } from "./egress.ts";

const systemNamespace = "isthmus-system";
const says = (namespace: string, egress: string) => ({ namespace, egress });

describe("whether workloads may call what is no service of the mesh", () => {
  const rows = [
    { about: "yes by default", words: [], open: ["shop", "bank"] },
    { about: "no where the configuration says so", egress: false, words: [], open: [] },
    { about: "as OSM's MeshConfig says, whatever the configuration does", config: false, words: [], open: [] },
    {
      about: "as OSM's MeshConfig says where it allows them",
      egress: false,
      config: true,
      words: [],
      open: ["shop", "bank"],
    },
    {
      about: "as their Namespace says, whatever MeshConfig does",
      config: false,
      words: [says("bank", "true")],
      open: ["bank"],
    },
    { about: "no where their Namespace says so", words: [says("shop", "false")], open: ["bank"] },
    { about: "yes where their Namespace says so", egress: false, words: [says("shop", "true")], open: ["shop"] },
    { about: "as the agent's namespace says", words: [says(systemNamespace, "false")], open: [] },
    {
      about: "as their own Namespace says, whatever the agent's does",
      ...{ words: [says(systemNamespace, "false"), says("bank", "true")], open: ["bank"] },
    },
    { about: "no where the word is a mistake", words: [says("shop", "yes")], open: ["bank"] },
  ];

  it.each(rows)("$about", ({ egress, config, words, open }) => {
    const meshConfigs = [aMeshConfig(config === undefined ? {} : { egress: config })];
    const given = { meshConfigs, ...(egress === undefined ? {} : { egress }) };
    const built = buildEgress({ ...given, namespaceEgress: words, systemNamespace });
    expect(["shop", "bank"].filter((namespace) => allowsEgress(built, namespace))).toEqual(open);
  });

  it("is told where it is a mistake", () => {
    const { problems } = buildEgress({ namespaceEgress: [says("shop", "yes")] });
    expect(problems).toMatchObject([
      {
        code: "ISTHMUS_EGRESS",
        object: { kind: "Namespace", name: "shop" },
        field: "metadata.annotations[isthmus.dev/egress]",
      },
    ]);
  });

  it("says nothing where everything may leave", () => {
    expect(buildEgress({ namespaceEgress: [says("shop", "true")], systemNamespace })).toEqual({ problems: [] });
  });
});
