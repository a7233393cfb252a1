import { describe, expect, test } from "vitest";
import type { ClusterName, FleetDomain } from "../../shared/ids.ts";
import { gatewayFiles } from "./gateway-bootstrap.ts";

const west = {
  cluster: "west" as ClusterName,
  fleetDomain: "acme.mesh" as FleetDomain,
  namespace: "isthmus-system",
};

describe("the bootstrap of a gateway", () => {
  test("trusts this cluster's agent and no other, at the Service beside it", () => {
    const text = gatewayFiles(west)["envoy.json"]!;
    expect(text).toContain("spiffe://west.acme.mesh/ns/isthmus-system/sa/isthmus-agent");
    expect(text).toContain('"address":"isthmus-agent.isthmus-system.svc","port_value":15128');
  });

  test("comes with the watched files that it names, in the folder where it looks", () => {
    const files = gatewayFiles(west);
    const named = [...files["envoy.json"]!.matchAll(/"path":"\/etc\/isthmus\/([^"]+)"/g)].map((match) => match[1]);
    expect(named.length).toBeGreaterThan(0);
    expect(Object.keys(files)).toEqual(expect.arrayContaining(named));
  });

  test("says nothing of what the chart's values decide", () => {
    const envoy = JSON.parse(gatewayFiles(west)["envoy.json"]!) as object;
    expect(envoy).not.toHaveProperty("node");
    expect(envoy).not.toHaveProperty("overload_manager.actions");
  });
});
