// One folder of testdata is one behaviour: manifests in, the IR and all that is said about them out. UPDATE_GOLDEN=1 rewrites.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { recordKey } from "../../shared/registry.ts";
import { buildIr } from "./build.ts";
import { exportConditions } from "./export-conditions.ts";
import { selectExports } from "./exports.ts";
import { selectImports } from "./imports.ts";
import { inputsOf } from "./testing/manifests.ts";

const testdata = join(import.meta.dirname, "testdata");

/** Lists without elements say nothing: a case shows what it is about. */
function withoutEmpty(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (_, field: unknown) =>
    Array.isArray(field) && field.length === 0 ? undefined : field,
  );
}

test.each(readdirSync(testdata))("golden: %s", (name) => {
  const inputs = inputsOf(readFileSync(join(testdata, name, "in.yaml"), "utf8"));
  const { ir, problems } = buildIr(inputs);
  const records = selectExports(inputs);
  const { services, grants, workloads, exportPorts, peers, revokedTrustDomains } = ir;
  const text = stringify(
    withoutEmpty({
      services,
      grants,
      workloads,
      exportPorts,
      peers,
      revokedTrustDomains,
      problems,
      published: inputs.exports.length === 0 ? [] : records,
      imports: selectImports(inputs),
      exportConditions: exportConditions(inputs, { acknowledged: new Set(records.map(recordKey)), refused: [] }),
    }),
    { lineWidth: 140, aliasDuplicateObjects: false },
  );
  const file = join(testdata, name, "ir.yaml");
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(file, text);
  expect(text).toBe(readFileSync(file, "utf8"));
});
