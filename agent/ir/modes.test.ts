import { describe, expect, it } from "vitest";
import { aMeshConfig } from "./testing/objects.ts";
import { buildModes, isPermissive } from "./modes.ts";

const systemNamespace = "isthmus-system";
const says = (namespace: string, permissive: string) => ({ namespace, permissive });

describe("whether a namespace takes calls without a TrafficTarget", () => {
  interface Row {
    readonly about: string;
    readonly permissive: boolean;
    readonly config?: boolean;
    readonly words: readonly ReturnType<typeof says>[];
    readonly open: readonly string[];
  }
  const rows: readonly Row[] = [
    { about: "no by default", permissive: false, words: [], open: [] },
    { about: "yes where the configuration is permissive", permissive: true, words: [], open: ["shop", "bank"] },
    { about: "yes where its Namespace says so", permissive: false, words: [says("shop", "true")], open: ["shop"] },
    { about: "no where its Namespace says so", permissive: true, words: [says("shop", "false")], open: ["bank"] },
    {
      about: "as the agent's namespace says, whatever the configuration does",
      ...{ permissive: true, words: [says(systemNamespace, "false")], open: [] },
    },
    {
      about: "as its own Namespace says, whatever the agent's does",
      ...{ permissive: false, words: [says(systemNamespace, "true"), says("bank", "false")], open: ["shop"] },
    },
    {
      about: "as OSM's MeshConfig says, whatever the configuration does",
      permissive: true,
      config: false,
      words: [],
      open: [],
    },
    {
      about: "as its own Namespace says, whatever MeshConfig does",
      ...{ permissive: false, config: true, words: [says("bank", "false")], open: ["shop"] },
    },
    {
      about: "as the agent's namespace says, whatever MeshConfig does",
      ...{ permissive: false, config: true, words: [says(systemNamespace, "false")], open: [] },
    },
    { about: "no where the word is a mistake", permissive: true, words: [says("shop", "ture")], open: ["bank"] },
  ];

  it.each(rows)("$about", ({ permissive, config, words, open }) => {
    const meshConfigs = [aMeshConfig(config === undefined ? {} : { permissive: config })];
    const modes = buildModes({ permissive, namespaceModes: words, systemNamespace, meshConfigs });
    expect(["shop", "bank"].filter((namespace) => isPermissive(modes, namespace))).toEqual(open);
  });

  it("is told where it is a mistake", () => {
    const { problems } = buildModes({ permissive: true, namespaceModes: [says("shop", "yes")], systemNamespace });
    expect(problems).toMatchObject([
      {
        code: "ISTHMUS_PERMISSIVE",
        object: { kind: "Namespace", name: "shop" },
        field: "metadata.annotations[isthmus.dev/permissive]",
      },
    ]);
  });

  it("says nothing of a namespace that repeats what holds anyway", () => {
    const modes = buildModes({ permissive: true, namespaceModes: [says("shop", "true")], systemNamespace });
    expect(modes).toEqual({ permissive: true, problems: [] });
  });
});
