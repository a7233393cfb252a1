import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { checkoutRoot } from "../../shared/tooling/pack.ts";
import { isShipped, productionPackages } from "./node-modules.ts";

describe("npm packages in the image", () => {
  const packages = productionPackages(readFileSync(join(checkoutRoot, "package-lock.json"), "utf8"));
  const { dependencies, devDependencies } = JSON.parse(
    readFileSync(join(checkoutRoot, "package.json"), "utf8"),
  ) as Record<"dependencies" | "devDependencies", Record<string, string>>;

  test("are every dependency and no development one", () => {
    const direct = packages.map((path) => path.slice("node_modules/".length));
    expect(direct).toEqual(expect.arrayContaining(Object.keys(dependencies)));
    expect(Object.keys(devDependencies).filter((name) => direct.includes(name))).toEqual([]);
  });

  test("do not bring Node itself, which the image has once already", () => {
    expect(packages.filter((path) => path.includes("node-linux"))).toEqual([]);
  });

  test.each([
    ["code", "node_modules/express", "lib/express.js", true],
    ["a licence, whatever its ending", "node_modules/express", "LICENSE.md", true],
    ["a type declaration", "node_modules/yaml", "dist/index.d.ts", false],
    ["a source map", "node_modules/yaml", "dist/index.js.map", false],
    ["a manual", "node_modules/yaml", "README.md", false],
    ["a test", "node_modules/qs", "test/parse.js", false],
    ["a proto file of Envoy", "node_modules/@grpc/grpc-js-xds", "deps/envoy-api/envoy/config/core/v3/base.proto", true],
    [
      "JavaScript of the package that only lends its protos",
      "node_modules/@grpc/grpc-js-xds",
      "build/src/index.js",
      false,
    ],
    ["a native part for another runtime", "node_modules/bare-fs", "prebuilds/linux-x64/bare-fs.bare", false],
  ])("%s", (...[, packagePath, file, shipped]) => {
    expect(isShipped(packagePath, file)).toBe(shipped);
  });
});
