import { expect, it } from "vitest";
import { recordKey, type RegistryRecord } from "../../shared/registry.ts";
import { refusedProblems } from "./refused-records.ts";

const at = { cluster: "east", namespace: "shop", name: "cart" };
const policy = { ...at, kind: "policy", policyKind: "TrafficTarget", members: ["*"], manifest: "{}" } as const;
const rows: readonly [RegistryRecord, object | undefined][] = [
  [policy, { kind: "TrafficTarget", namespace: "shop", name: "cart" }],
  [
    { ...at, kind: "capacity", ports: [] },
    { kind: "ServiceExport", namespace: "shop", name: "cart" },
  ],
  [{ cluster: "east", kind: "gateway", addresses: [], region: "", zone: "" }, undefined],
];

it.each(rows)("a record that the hub refuses is a problem of the object it was made of: %o", (record, object) => {
  const refusal = {
    key: recordKey(record),
    code: "ISTHMUS_RECORD_QUOTA",
    message: "the member holds 2 records, its quota",
  };
  const [problem] = refusedProblems([refusal]);
  expect(problem).toMatchObject({ code: "ISTHMUS_RECORD_QUOTA", ...(object && { object }) });
  expect(problem?.message).toContain("its quota");
  expect(refusedProblems([refusal])[0]).toBe(problem);
});
