import { describe, expect, it } from "vitest";
import { boundProxy, type ProxyFacts } from "./bound-proxy.ts";

const facts: ProxyFacts = {
  cluster: "east",
  fleetDomain: "acme.mesh",
  namespace: "shop",
  name: "cart-1",
  agent: { host: "127.0.0.1", port: 15128 },
  locality: { region: "eu", zone: "eu-1" },
  sidecar: {},
};
const folders = { credentialDir: "/data/workloads/shop/cart-1", configDir: "/run/cart-1" };

function filesOf(given: ProxyFacts): Readonly<Record<string, unknown>> {
  const proxy = boundProxy(given, folders);
  if (!proxy.ok) throw new Error(JSON.stringify(proxy.error));
  return Object.fromEntries(
    Object.entries(proxy.value.files).map(([name, text]) => [name, JSON.parse(text) as unknown]),
  );
}

describe("the files of a bound proxy", () => {
  it("open no port: the admin interface is a socket that its user alone may open", () => {
    expect(filesOf(facts)["envoy.json"]).toMatchObject({
      admin: { address: { pipe: { path: "/run/cart-1/admin.sock", mode: 0o600 } } },
      static_resources: { clusters: [{ name: "ads" }], listeners: [] },
    });
  });

  it("name the token and the roots of the credential folder and watch them", () => {
    const watched = { watched_directory: { path: folders.credentialDir } };
    expect(filesOf(facts)["ads-token.json"]).toMatchObject({
      resources: [{ generic_secret: { secret: { filename: `${folders.credentialDir}/token`, ...watched } } }],
    });
    expect(filesOf(facts)["ads-roots.json"]).toMatchObject({
      resources: [
        { validation_context: { trusted_ca: { filename: `${folders.credentialDir}/roots.pem` }, ...watched } },
      ],
    });
  });

  it.each([
    ["a sidecar", facts, "sidecar~cart-1.shop"],
    ["the gateway, whose facts have no sidecar", { ...facts, sidecar: undefined }, "gateway~cart-1.shop"],
  ])("start %s under the node id that its token proves", (_who, given, nodeId) => {
    const proxy = boundProxy(given, folders);
    const passed = proxy.ok ? proxy.value.arguments : [];
    expect(passed.slice(0, 2)).toEqual(["-c", "/run/cart-1/envoy.json"]);
    expect(passed[passed.indexOf("--service-node") + 1]).toBe(nodeId);
  });

  it.each([
    ["a cluster that is no name", { ...facts, cluster: "East" }, folders, "ISTHMUS_CLUSTER_NAME"],
    ["a fleet that is no domain", { ...facts, fleetDomain: "mesh" }, folders, "ISTHMUS_FLEET_DOMAIN"],
    ["a folder too deep for a socket", facts, { ...folders, configDir: `/${"d".repeat(100)}` }, "ISTHMUS_DATA_PATH"],
  ])("are not made for %s", (_what, given, places, code) => {
    expect(boundProxy(given, places)).toMatchObject({ ok: false, error: [{ code }] });
  });
});
