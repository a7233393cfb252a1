// Every folder of testdata is one behaviour: in.yaml (IR in short form and a proxy) in, one YAML file per xDS type out.
// What differs is shown as a YAML diff; `UPDATE_GOLDEN=1` writes what is new, and removes nothing: orphans fail here.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ProxyTrust } from "./proxy.ts";
import { resourceTypes } from "./resource.ts";
import { goldenText } from "./testing/golden-text.ts";
import { readCase } from "./testing/mesh-case.ts";
import { translate } from "./translate.ts";

const testdata = join(import.meta.dirname, "testdata");
const update = process.env["UPDATE_GOLDEN"] === "1";
const hint =
  "if this is meant: UPDATE_GOLDEN=1 npx vitest run --config shared/tooling/vitest.config.ts agent/xds/golden.test.ts";

/** Certificates would make every golden file change with the clock. */
const trust: ProxyTrust = { rootsPem: "(roots)", chainPem: "(chain)", keyPem: "(key)" };

const cases = readdirSync(testdata, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);

describe.each(cases)("%s", (name) => {
  const folder = join(testdata, name);
  const { ir, proxy, settings } = readCase(readFileSync(join(folder, "in.yaml"), "utf8"));
  const resources = translate(ir, proxy, trust, settings);

  it.each(resourceTypes)("%s is as written", (type) => {
    const file = join(folder, `${type}.yaml`);
    const text = goldenText(type, [...resources[type].values()]);
    if (update && text !== "") writeFileSync(file, text);
    expect(existsSync(file) ? readFileSync(file, "utf8") : "", hint).toBe(text);
  });

  it("has no other files", () => {
    const known = ["in.yaml", ...resourceTypes.map((type) => `${type}.yaml`)];
    expect(readdirSync(folder).filter((file) => !known.includes(file))).toEqual([]);
  });

  it("translates to the same text from an equal IR that shares no object", () => {
    const again = readCase(readFileSync(join(folder, "in.yaml"), "utf8"));
    expect(translate(again.ir, again.proxy, trust, again.settings)).toEqual(resources);
  });
});
