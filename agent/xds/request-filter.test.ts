import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { JsonMessage } from "./resource.ts";
import { readCase } from "./testing/mesh-case.ts";
import { translate } from "./translate.ts";

const testdata = join(import.meta.dirname, "testdata");
const trust = { rootsPem: "(roots)", chainPem: "(chain)", keyPem: "(key)" };

function requestFilters(): readonly JsonMessage[] {
  const cases = readdirSync(testdata).map((name) => readCase(readFileSync(join(testdata, name, "in.yaml"), "utf8")));
  const both = [true, false].flatMap((podLabel) => cases.map((one) => ({ ...one, settings: { podLabel } })));
  const filters = both.flatMap(({ ir, proxy, settings }) => [...translate(ir, proxy, trust, settings).ecds.values()]);
  return filters.filter(({ name }) => typeof name === "string" && name.startsWith("requests|"));
}

it("a request filter's name stands for one content in every mesh and setting: another under the same name would end a running Envoy", () => {
  const contents = new Map<unknown, Set<string>>();
  for (const filter of requestFilters()) {
    const known = contents.get(filter["name"]) ?? new Set();
    contents.set(filter["name"], known.add(JSON.stringify(filter)));
  }
  expect([...contents].filter(([, { size }]) => size !== 1)).toEqual([]);
  const ofCart = [...contents.keys()].filter((name) => String(name).endsWith("|cluster|shop|cart|80"));
  expect(ofCart).toHaveLength(2);
});
