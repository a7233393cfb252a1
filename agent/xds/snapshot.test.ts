// What is encoded again, what is refused as inconsistent, and what a class is served while a resource stands refused.
import { describe, expect, it } from "vitest";
import { diffSnapshot } from "./diff.ts";
import { quarantineKey, servedSnapshot, stillRefused, type Quarantine } from "./quarantine.ts";
import { referencesOf } from "./references.ts";
import { resourceTypes, type JsonMessage, type ResourceSet, type ResourceType } from "./resource.ts";
import { checkConsistent, createSnapshotEncoder, type EncodeResource } from "./snapshot.ts";
import { aResource, snapshotOf } from "./testing/model-client.ts";

const ads = { ads: {} };

function aSet(values: Readonly<Partial<Record<ResourceType, readonly JsonMessage[]>>>): ResourceSet {
  const set = {} as Record<ResourceType, ReadonlyMap<string, JsonMessage>>;
  for (const type of resourceTypes) {
    set[type] = new Map((values[type] ?? []).map((value) => [JSON.stringify(value["name"]).slice(1, -1), value]));
  }
  return set;
}

/** Encodes to JSON text and notes what it was asked for. */
function counting() {
  const calls: string[] = [];
  const encode: EncodeResource = (_typeUrl, value) => {
    const text = JSON.stringify(value);
    calls.push(text);
    return { bytes: Buffer.from(text), version: text };
  };
  return { calls, encode: createSnapshotEncoder(encode) };
}

describe("encoding a snapshot", () => {
  it("encodes an object once, whatever the class or the push", () => {
    const { calls, encode } = counting();
    const cart = { name: "cart" };
    const first = encode(aSet({ cds: [cart] }));
    const other = encode(aSet({ cds: [cart, { name: "pay" }] }));
    expect(calls.length).toBe(2);
    expect(other.resources.cds.get("cart")).toBe(first.resources.cds.get("cart"));
  });

  it("keeps the resource, its type's map and the whole snapshot when new objects say the same", () => {
    const { encode } = counting();
    const first = encode(aSet({ cds: [{ name: "cart" }], rds: [{ name: "table" }] }));
    expect(encode(aSet({ cds: [{ name: "cart" }], rds: [{ name: "table" }] }), first)).toBe(first);
    const second = encode(aSet({ cds: [{ name: "cart", type: "EDS" }], rds: [{ name: "table" }] }), first);
    expect(second.resources.rds).toBe(first.resources.rds);
    expect(second.resources.cds).not.toBe(first.resources.cds);
    const { cds, ...others } = diffSnapshot(first, second);
    expect(cds).toMatchObject({ changed: [{ name: "cart" }], removed: [] });
    expect(Object.values(others).flatMap((one) => [...one.changed, ...one.removed])).toEqual([]);
    expect(diffSnapshot(first, second).cds).toBe(cds);
  });

  it("gives the encoder the bytes from before, so that it can reuse them", () => {
    const seen: (Uint8Array | undefined)[] = [];
    const encode = createSnapshotEncoder((_typeUrl, value, previous) => {
      seen.push(previous);
      return { bytes: Buffer.from(JSON.stringify(value)), version: JSON.stringify(value) };
    });
    const first = encode(aSet({ eds: [{ name: "cart", n: 1 }] }));
    encode(aSet({ eds: [{ name: "cart", n: 2 }] }), first);
    expect(seen).toEqual([undefined, first.resources.eds.get("cart")?.bytes]);
  });

  it("does not take one name's bytes for another's, even of the same object", () => {
    const { encode } = counting();
    const value = { name: "cart" };
    const set = {
      ...aSet({}),
      cds: new Map([
        ["a", value],
        ["b", value],
      ]),
    };
    expect([...encode(set).resources.cds.values()].map((one) => one.name)).toEqual(["a", "b"]);
  });
});

describe("what a resource refers to", () => {
  const hcm = {
    "@type": "type.googleapis.com/x.HttpConnectionManager",
    rds: { config_source: ads, route_config_name: "table" },
  };
  const tls = { common_tls_context: { tls_certificate_sds_secret_configs: [{ name: "svid", sds_config: ads }] } };

  it.each<readonly [string, ResourceType, JsonMessage, readonly string[]]>([
    [
      "a cluster's endpoints by its own name",
      "cds",
      { name: "a", type: "EDS", eds_cluster_config: { eds_config: ads } },
      ["eds a"],
    ],
    [
      "a cluster's endpoints by another name",
      "cds",
      { name: "a", type: "EDS", eds_cluster_config: { service_name: "b", eds_config: ads } },
      ["eds b"],
    ],
    ["no endpoints of a static cluster", "cds", { name: "a", type: "STATIC" }, []],
    [
      "no endpoints that come from a file",
      "cds",
      { name: "a", type: "EDS", eds_cluster_config: { eds_config: { path_config_source: {} } } },
      [],
    ],
    ["a cluster's secrets", "cds", { name: "a", transport_socket: { typed_config: tls } }, ["sds svid"]],
    ["no secret from a file", "cds", { name: "a", x: { name: "f", sds_config: { path_config_source: {} } } }, []],
    [
      "nothing that only looks like it in metadata",
      "cds",
      { name: "a", metadata: { filter_metadata: { x: { name: "n", sds_config: ads } } } },
      [],
    ],
    [
      "a listener's route table and secrets",
      "lds",
      { name: "a", filter_chains: [{ filters: [{ typed_config: hcm }], transport_socket: tls }] },
      ["rds table", "sds svid"],
    ],
    [
      "a TCP proxy's clusters",
      "lds",
      {
        name: "a",
        f: {
          "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
          weighted_clusters: { clusters: [{ name: "b" }, { name: "c" }] },
        },
      },
      ["cds b", "cds c"],
    ],
    [
      "routes given inline",
      "lds",
      { name: "a", f: { route_config: { virtual_hosts: [{ routes: [{ route: { cluster: "b" } }] }] } } },
      ["cds b"],
    ],
    [
      "a route table's clusters, each once",
      "rds",
      {
        virtual_hosts: [
          {
            routes: [
              { route: { cluster: "b" } },
              { route: { cluster: "b", request_mirror_policies: [{ cluster: "m" }] } },
              { redirect: {} },
            ],
          },
        ],
      },
      ["cds b", "cds m"],
    ],
    ["nothing of endpoints", "eds", { cluster_name: "a" }, []],
  ])("is found: %s", (_what, type, value, want) => {
    expect(referencesOf(type, "a", value).map((one) => `${one.type} ${one.name}`)).toEqual(want);
  });
});

describe("a snapshot that does not close over its references", () => {
  it("is described, one problem for each", () => {
    const snapshot = snapshotOf([
      aResource("cds", "cart", "1", [
        { type: "eds", name: "cart" },
        { type: "sds", name: "svid" },
      ]),
      aResource("sds", "svid", "1"),
      aResource("rds", "table", "1", [
        { type: "cds", name: "cart" },
        { type: "cds", name: "gone" },
      ]),
    ]);
    expect(checkConsistent(snapshot).map((one) => one.message)).toEqual([
      "cds cart refers to eds cart, which is not in the snapshot",
      "rds table refers to cds gone, which is not in the snapshot",
    ]);
  });
});

describe("a quarantined resource", () => {
  const bad = aResource("lds", "outbound", "bad");
  const good = aResource("lds", "outbound", "good");
  const quarantine: Quarantine = new Map([[quarantineKey(bad), { resource: bad, errorText: "no", lastGood: good }]]);
  const published = snapshotOf([bad, aResource("cds", "cart", "1")]);

  it("is served in its last good version, everything else as published", () => {
    const served = servedSnapshot(published, quarantine);
    expect(served.resources.lds.get("outbound")).toBe(good);
    expect(served.resources.cds).toBe(published.resources.cds);
    expect(servedSnapshot(published, new Map())).toBe(published);
  });

  it("is free again when its content changes or it is gone, not when others change", () => {
    expect(stillRefused(quarantine, snapshotOf([bad]))).toBe(quarantine);
    expect(stillRefused(quarantine, snapshotOf([aResource("lds", "outbound", "mended")])).size).toBe(0);
    expect(stillRefused(quarantine, snapshotOf([])).size).toBe(0);
  });
});
