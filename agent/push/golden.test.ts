// Manifests in; what they mean (ir.yaml) and all that one proxy is told (one file per xDS type) out. One folder of testdata is
// one behaviour. `UPDATE_GOLDEN=1` writes what is new, and removes nothing: orphans fail here.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { stringify } from "yaml";
import type { ProxyTrust } from "../xds/proxy.ts";
import { resourceTypes } from "../xds/resource.ts";
import { goldenText } from "../xds/testing/golden-text.ts";
import { defaultSettings, translate } from "../xds/translate.ts";
import { caseNames, readManifestCase, testdata } from "./testing/manifest-case.ts";

const update = process.env["UPDATE_GOLDEN"] === "1";
const hint =
  "if this is meant: UPDATE_GOLDEN=1 npx vitest run --config shared/tooling/vitest.config.ts agent/push/golden.test.ts";

/** Certificates would make every golden file change with the clock. */
const trust: ProxyTrust = { rootsPem: "(roots)", chainPem: "(chain)", keyPem: "(key)" };

/** Lists without elements say nothing: a case shows what it is about. */
function withoutEmpty(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (_, field: unknown) =>
    Array.isArray(field) && field.length === 0 ? undefined : field,
  );
}

describe.each(caseNames)("%s", (name) => {
  const { ir, problems, proxy } = readManifestCase(name);
  const resources = translate(ir, proxy, trust, defaultSettings);
  const expected = new Map<string, string>([
    ["ir.yaml", stringify(withoutEmpty({ ...ir, problems }), { lineWidth: 160, aliasDuplicateObjects: false })],
    ...resourceTypes.map((type): [string, string] => [`${type}.yaml`, goldenText(type, [...resources[type].values()])]),
  ]);

  it.each([...expected])("%s is as written", (file, text) => {
    const path = join(testdata, name, file);
    if (update && text !== "") writeFileSync(path, text);
    expect(existsSync(path) ? readFileSync(path, "utf8") : "", hint).toBe(text);
  });

  it("has no other files", () => {
    const known = ["case.yaml", "input", ...expected.keys()];
    expect(readdirSync(join(testdata, name)).filter((file) => !known.includes(file))).toEqual([]);
  });

  it("comes out the same from manifests that are read again", () => {
    const again = readManifestCase(name);
    expect(translate(again.ir, again.proxy, trust, defaultSettings)).toEqual(resources);
  });
});
