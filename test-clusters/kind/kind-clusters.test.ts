import { describe, expect, it } from "vitest";
import { kindConfig, kindName, runsOfKindNames } from "./kind-clusters.ts";

describe("clusters by kind", () => {
  it("have the golden configuration: the same networks as the others", async () => {
    await expect(kindConfig()).toMatchFileSnapshot("testdata/kind.yaml");
  });

  it("are found again by their names", () => {
    const names = [kindName("dev", "east"), kindName("dev", "west"), kindName("my-run", "east")];
    expect(runsOfKindNames(names)).toEqual(["dev", "my-run"]);
  });
});
