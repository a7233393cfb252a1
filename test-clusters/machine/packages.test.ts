import { describe, expect, it } from "vitest";
import { packagesFor } from "./packages.ts";

describe("system packages", () => {
  it("can each be recognised as present without asking a package tool", () => {
    for (const list of Object.values(packagesFor)) {
      for (const each of list) expect("programs" in each || "files" in each, each.name).toBe(true);
    }
  });
});
