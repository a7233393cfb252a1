import { describe, expect, test } from "vitest";
import { gatewayFiles, readGatewayPlace } from "./bootstrap-main.ts";
import { membershipObject, membershipOf } from "./kube/membership-config-map.ts";

const membership = membershipOf({ data: { cluster: "west", fleetDomain: "acme.mesh" } })!;

describe("the bootstrap of a gateway", () => {
  test("trusts this cluster's agent and no other, at the Service beside it", () => {
    const files = gatewayFiles(readGatewayPlace({}), membership);
    const text = files["envoy.json"]!;
    expect(text).toContain("spiffe://west.acme.mesh/ns/isthmus-system/sa/isthmus-agent");
    expect(text).toContain('"address":"isthmus-agent.isthmus-system.svc","port_value":15128');
    expect(JSON.parse(text)).not.toHaveProperty("node.locality");
  });

  test("comes with the watched files that it names, in the folder where it looks", () => {
    const files = gatewayFiles(readGatewayPlace({ ISTHMUS_CONFIG_DIR: "/c" }), membership);
    const named = [...files["envoy.json"]!.matchAll(/"path":"\/c\/([^"]+)"/g)].map((match) => match[1]);
    expect(named.length).toBeGreaterThan(0);
    expect(Object.keys(files)).toEqual(expect.arrayContaining(named));
  });

  test("sheds load before the memory limit when the chart gives one", () => {
    const place = readGatewayPlace({ ISTHMUS_MAX_HEAP_BYTES: "402653184" });
    expect(gatewayFiles(place, membership)["envoy.json"]).toContain("402653184");
  });
});

describe("the membership that a gateway waits for", () => {
  test("is read back as the agent wrote it", () => {
    expect(membershipOf(membershipObject("isthmus-system", membership))).toEqual(membership);
  });

  test.each([
    ["no data", {}],
    ["no cluster", { data: { fleetDomain: "acme.mesh" } }],
    ["a cluster that is no name", { data: { cluster: "West!", fleetDomain: "acme.mesh" } }],
    ["a fleet that is no domain", { data: { cluster: "west", fleetDomain: "mesh" } }],
  ] satisfies readonly (readonly [string, object])[])("does not count with %s", (_name, object) => {
    expect(membershipOf(object)).toBeUndefined();
  });
});
