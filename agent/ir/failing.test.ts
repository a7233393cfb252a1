// A service whose endpoints answer with errors in one member: what callers of the fleet's service are told, and what is published.
import { describe, expect, it } from "vitest";
import type { RegistryRecord } from "../../shared/registry.ts";
import { buildIr } from "./build.ts";
import { selectExports } from "./exports.ts";
import type { EndpointInput } from "./inputs.ts";
import {
  aCapacityRecord,
  aGatewayRecord,
  anEndpoint,
  aPod,
  aService,
  aServiceRecord,
  aSlice,
  someInputs,
} from "./testing/objects.ts";

const member = (cluster: string, ready: number, failing?: number): readonly RegistryRecord[] => [
  aServiceRecord({ cluster }),
  aCapacityRecord({ cluster, ports: [{ port: 80, ready, total: 2, ...(failing === undefined ? {} : { failing }) }] }),
  aGatewayRecord({ cluster }),
];
const local = (endpoint: Partial<EndpointInput>) => ({
  services: [aService()],
  slices: [aSlice({ endpoints: [anEndpoint(endpoint)] })],
  pods: [aPod()],
  exports: [{ namespace: "shop", name: "cart", createdAtMs: 1 }],
});
const seen = (inputs: Parameters<typeof someInputs>[0], scope: "fleet" | "cluster" = "fleet") => {
  const port = buildIr(someInputs(inputs)).ir.services.find((service) => service.scope === scope)?.ports[0];
  const remote = port?.remote.map(({ cluster, ready }) => `${cluster} ${ready}`) ?? [];
  return [...(port?.local.map(({ ready }) => `here ${ready ? 1 : 0}`) ?? []), ...remote];
};

describe("callers of a service that a member answers with errors", () => {
  it.each<[string, Parameters<typeof someInputs>[0], readonly string[]]>([
    ["go to another member", { remote: [...member("west", 2, 2), ...member("north", 1)] }, ["north 1", "west 0"]],
    ["go there still while no other is well", { remote: member("west", 2, 2) }, ["west 2"]],
    [
      "go there still while all others fail too",
      { remote: [...member("west", 2, 2), ...member("north", 1, 1)] },
      ["north 1", "west 2"],
    ],
    [
      "go there still for another that has nothing ready",
      { remote: [...member("west", 2, 2), ...member("north", 0)] },
      ["north 0", "west 2"],
    ],
    ["go there still while one of its endpoints is well", { remote: member("west", 2, 1) }, ["west 2"]],
    [
      "leave their own member for another",
      { ...local({ failing: true }), remote: member("west", 1) },
      ["here 0", "west 1"],
    ],
    ["stay in their own member while it is well", { ...local({}), remote: member("west", 1, 1) }, ["here 1", "west 0"]],
  ])("%s", (_what, inputs, expected) => {
    expect(seen(inputs)).toEqual(expected);
  });

  it("stay where a service of the member alone is concerned: nobody else serves that name", () => {
    expect(seen({ ...local({ failing: true }), remote: member("west", 1) }, "cluster")).toEqual(["here 1"]);
  });

  it("of other members are told by the capacity", () => {
    const capacity = (endpoint: Partial<EndpointInput>) =>
      selectExports(someInputs(local(endpoint))).flatMap((record) => (record.kind === "capacity" ? record.ports : []));
    expect(capacity({ failing: true })).toEqual([{ port: 80, ready: 1, total: 1, failing: 1 }]);
    expect(capacity({})).toEqual([{ port: 80, ready: 1, total: 1 }]);
  });
});
