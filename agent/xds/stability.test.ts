// What a change does NOT touch. A changed byte of a chain closes connections (envoy-facts 4), a changed resource costs every stream
// that has it: equal parts give equal bytes, and unchanged objects give the very same message objects.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { contentVersion, encodeJson } from "../../shared/wire.ts";
import type { MeshIr, ServiceIr } from "../ir/types.ts";
import type { ProxyTrust } from "./proxy.ts";
import { resourceTypes, type JsonMessage, type ResourceSet } from "./resource.ts";
import { checkConsistent, createSnapshotEncoder } from "./snapshot.ts";
import { readCase } from "./testing/mesh-case.ts";
import { translate } from "./translate.ts";

const testdata = join(import.meta.dirname, "testdata");
const trust: ProxyTrust = { rootsPem: "(roots)", chainPem: "(chain)", keyPem: "(key)" };

function load(name: string) {
  return readCase(readFileSync(join(testdata, name, "in.yaml"), "utf8"));
}

const encode = createSnapshotEncoder((typeUrl, value) => {
  const bytes = encodeJson(typeUrl, value);
  return { bytes, version: contentVersion(bytes) };
});

/** Names of resources whose bytes differ, are new or are gone. */
function changes(before: ResourceSet, after: ResourceSet): readonly string[] {
  const [old, now] = [encode(before), encode(after)];
  return resourceTypes.flatMap((type) => {
    const names = new Set([...old.resources[type].keys(), ...now.resources[type].keys()]);
    return [...names]
      .filter((name) => old.resources[type].get(name)?.version !== now.resources[type].get(name)?.version)
      .map((name) => `${type} ${name}`);
  });
}

function chainsByName(set: ResourceSet, listener: string): ReadonlyMap<string, string> {
  const chains = (set.lds.get(listener)?.["filter_chains"] ?? []) as readonly JsonMessage[];
  return new Map(chains.map((chain) => [JSON.stringify(chain["name"]).slice(1, -1), JSON.stringify(chain)]));
}

function withService(ir: MeshIr, name: string, change: (service: ServiceIr) => ServiceIr): MeshIr {
  return { ...ir, services: ir.services.map((service) => (service.name === name ? change(service) : service)) };
}

describe.each(readdirSync(testdata))("%s", (name) => {
  it("is taken by Envoy's schema as it is, and refers to nothing that is not there", () => {
    const { ir, proxy, settings } = load(name);
    expect(checkConsistent(encode(translate(ir, proxy, trust, settings)))).toEqual([]);
  });

  it("gives the same objects again for the same IR", () => {
    const { ir, proxy, settings } = load(name);
    const [first, second] = [translate(ir, proxy, trust, settings), translate({ ...ir }, proxy, trust, settings)];
    for (const type of resourceTypes) for (const [key, value] of first[type]) expect(second[type].get(key)).toBe(value);
  });
});

describe("a change touches what it must and nothing else", () => {
  it("another match of a grant costs its callers nothing, not even a look at their resources", () => {
    const { ir, proxy } = load("client-granted");
    const before = translate(ir, proxy, trust);
    const grants = ir.grants.map((grant) => ({ ...grant, http: [{ pathRegex: "/other", methods: [], headers: [] }] }));
    expect(translate({ ...ir, grants }, proxy, trust)).toBe(before);
    expect(translate({ ...ir, grants: [] }, proxy, trust)).not.toBe(before);
  });

  it("a pod that comes or goes touches the endpoints of its service alone", () => {
    const { ir, proxy } = load("client-granted");
    const fewer = withService(ir, "cart", (service) => ({
      ...service,
      ports: service.ports.map((port) => (port.port === 80 ? { ...port, local: port.local.slice(0, 1) } : port)),
    }));
    expect(changes(translate(ir, proxy, trust), translate(fewer, proxy, trust))).toEqual([
      "eds outbound|cluster|shop|cart|80",
    ]);
  });

  it("a member that starts to export touches endpoints and identities, never a cluster or a listener", () => {
    const { ir, proxy } = load("client-import-from-remote-only");
    const one = withService(ir, "stock", (service) => ({
      ...service,
      ports: service.ports.map((port) => ({
        ...port,
        remote: port.remote.slice(1),
        identities: port.identities.slice(0, 1),
      })),
    }));
    expect(changes(translate(one, proxy, trust), translate(ir, proxy, trust))).toEqual([
      "eds outbound|fleet|shop|stock|80",
      "sds identities|fleet|shop|stock|80",
    ]);
  });

  it("a changed grant touches the routes of the server alone", () => {
    const { ir, proxy } = load("server-grants-with-matches");
    const fewer = { ...ir, grants: ir.grants.slice(1) };
    expect(changes(translate(ir, proxy, trust), translate(fewer, proxy, trust))).toEqual(["rds inbound|8080"]);
  });

  it("a grant of HTTP touches no chain of a TCP port", () => {
    const { ir, proxy } = load("server-tcp-grants");
    const fewer = { ...ir, grants: ir.grants.filter((grant) => grant.origin.name !== "http-only") };
    expect(changes(translate(ir, proxy, trust), translate(fewer, proxy, trust))).toEqual([]);
  });

  it("a renewed certificate touches that secret alone", () => {
    const { ir, proxy } = load("client-granted");
    const renewed = { ...trust, chainPem: "(renewed)" };
    expect(changes(translate(ir, proxy, trust), translate(ir, proxy, renewed))).toEqual(["sds svid"]);
  });

  it("permissive mode of an HTTP server is switched by routes; the chains of its ports stay", () => {
    const { ir, proxy } = load("server-grants-with-matches");
    const before = chainsByName(translate(ir, proxy, trust), "inbound");
    const after = chainsByName(translate({ ...ir, permissive: true }, proxy, trust), "inbound");
    for (const chain of ["inbound|8080", "inbound-plaintext|8080"]) expect(after.get(chain)).toBe(before.get(chain));
  });

  it("one namespace's permissive mode is switched without a byte for the servers of another", () => {
    const { ir, proxy } = load("server-grants-with-matches");
    const elsewhere = { ...ir, modeExceptions: ["bank"] };
    expect(changes(translate(ir, proxy, trust), translate(elsewhere, proxy, trust))).toEqual([]);
    const here = changes(translate(ir, proxy, trust), translate({ ...ir, modeExceptions: ["shop"] }, proxy, trust));
    expect(here).toContain("rds inbound|8080");
  });

  it("a chain of the outbound listener has the same bytes beside whatever other services", () => {
    const { ir, proxy } = load("client-granted");
    const alone = chainsByName(translate({ ...ir, services: ir.services.slice(0, 1) }, proxy, trust), "outbound");
    const beside = chainsByName(translate({ ...ir, permissive: true }, proxy, trust), "outbound");
    for (const [chain, bytes] of alone) expect(beside.get(chain)).toBe(bytes);
    expect(beside.size).toBeGreaterThan(alone.size);
  });
});

/** The same split with these weights, in its backends' order. */
function weighted(ir: MeshIr, ...weights: readonly number[]): MeshIr {
  const splits = ir.splits.map((split) => ({
    ...split,
    ports: split.ports.map((port) => ({
      ...port,
      backends: port.backends.map((backend, index) => ({ ...backend, weight: weights[index] ?? 0 })),
    })),
  }));
  return { ...ir, splits };
}

describe("a changed weight of a split", () => {
  it("touches the routes of the root alone, from and to 0 too", () => {
    const { ir, proxy } = load("client-split-http");
    const before = translate(ir, proxy, trust);
    for (const weights of [
      [1, 1, 0],
      [1, 0, 0],
      [0, 0, 1],
    ])
      expect(changes(before, translate(weighted(ir, ...weights), proxy, trust))).toEqual([
        "rds outbound|cluster|shop|cart|80",
      ]);
  });

  it("touches the filter of a raw TCP root alone", () => {
    const { ir, proxy } = load("client-split-tcp");
    const after = translate(weighted(ir, 1, 1), proxy, trust);
    expect(changes(translate(ir, proxy, trust), after)).toEqual(["ecds outbound|cluster|shop|queue|5672"]);
  });

  it("touches nothing where the ratio is the same", () => {
    const { ir, proxy } = load("client-split-http");
    expect(changes(translate(ir, proxy, trust), translate(weighted(ir, 2, 1, 0), proxy, trust))).toEqual([]);
  });

  it("touches the routes of a bound sidecar's proxy and of the loopback address, and the filter of a TCP port", () => {
    const { ir, proxy } = load("bound-sidecar-split");
    const unsplit = { ...ir, splits: [] };
    expect(changes(translate(unsplit, proxy, trust), translate(ir, proxy, trust))).toEqual([
      "rds outbound|cluster|shop|cart|8080",
      "rds http-proxy",
      "ecds outbound|cluster|shop|cart|9000",
    ]);
  });
});

describe("a split that comes or goes", () => {
  it("touches no chain, cluster or endpoint of what the caller sees anyway", () => {
    const { ir, proxy } = load("client-split-tcp");
    const unsplit = { ...ir, splits: [] };
    expect(changes(translate(unsplit, proxy, trust), translate(ir, proxy, trust))).toEqual([
      "ecds outbound|cluster|shop|queue|5672",
    ]);
  });

  it("shows a caller who may call none of its backends nothing", () => {
    const { ir, proxy } = load("client-split-http");
    const stranger = { ...ir, grants: [] };
    const unsplit = { ...stranger, splits: [] };
    expect(changes(translate(unsplit, proxy, trust), translate(stranger, proxy, trust))).toEqual([]);
  });
});

describe("a bound sidecar", () => {
  const { ir, proxy } = load("bound-sidecar");
  const before = translate(ir, proxy, trust);

  it("has the very same listener for a port that did not change", () => {
    const fewer = withService(ir, "orders", (service) => ({
      ...service,
      ports: service.ports.map((port) => (port.port === 5432 ? { ...port, local: [] } : port)),
    }));
    const after = translate(fewer, proxy, trust);
    expect(changes(before, after)).toContain("eds outbound|cluster|shop|orders|5432");
    const kept = "bound-outbound|127.64.32.1|8080";
    expect(after.lds.get(kept)).toBe(before.lds.get(kept));
  });

  it("keeps its routes and listeners when a pod comes or goes", () => {
    const more = withService(ir, "orders", (service) => ({
      ...service,
      ports: service.ports.map((port) => ({
        ...port,
        local: port.local.flatMap((pod) => [pod, { ...pod, address: "127.64.80.0" }]),
      })),
    }));
    const after = translate(more, proxy, trust);
    expect(changes(before, after)).toEqual([
      "eds outbound|cluster|shop|orders|5432",
      "eds outbound|cluster|shop|orders|3306",
    ]);
    expect(after.rds.get("http-proxy")).toBe(before.rds.get("http-proxy"));
  });

  it("opens a port for a new service without touching the listeners it has", () => {
    const fewer = { ...ir, services: ir.services.filter((service) => service.name !== "orders") };
    const opened = changes(translate(fewer, proxy, trust), before).filter((change) => !/^[ce]ds|^sds/.test(change));
    expect(opened.sort()).toEqual([
      "ecds outbound|cluster|shop|orders|3306",
      "ecds outbound|cluster|shop|orders|5432",
      "lds bound-outbound|127.64.33.44|3306",
      "lds bound-outbound|127.64.33.44|5432",
      "rds http-proxy",
    ]);
  });

  it("opens another port of its own without touching those it has", () => {
    if (proxy.kind !== "sidecar" || proxy.bound === undefined) throw new Error("the case is of a bound sidecar");
    const fewer = { ...proxy, inbound: proxy.inbound.filter(({ port }) => port !== 9000) };
    expect(changes(translate(ir, fewer, trust), before).filter((change) => change.startsWith("lds"))).toEqual([
      "lds bound-inbound|127.64.32.0|9000",
      "lds bound-inbound|192.0.2.7|9000",
    ]);
  });
});

describe("a chain of the gateway depends on its port's and its peer's names only", () => {
  const { ir, proxy } = load("gateway-two-peers-two-ports");
  const before = chainsByName(translate(ir, proxy, trust), "gateway");
  const rotated: ProxyTrust = { rootsPem: "(other roots)", chainPem: "(other chain)", keyPem: "(other key)" };
  const changed: readonly (readonly [string, MeshIr, ProxyTrust])[] = [
    ["pods come and go", { ...ir, exportPorts: ir.exportPorts.map((one) => ({ ...one, endpoints: [] })) }, trust],
    [
      "another service is exported",
      { ...ir, exportPorts: [...ir.exportPorts, { namespace: "shop", service: "new", port: 80, endpoints: [] }] },
      trust,
    ],
    ["a peer is cut off", { ...ir, peers: ir.peers.slice(1), revokedTrustDomains: ["east.acme.mesh"] }, trust],
    ["an export is withdrawn", { ...ir, exportPorts: ir.exportPorts.slice(1) }, trust],
    [
      "policy changes",
      {
        ...load("server-revoked-peer").ir,
        ...{ cluster: ir.cluster, trustDomain: ir.trustDomain, exportPorts: ir.exportPorts, peers: ir.peers },
        permissive: true,
      },
      trust,
    ],
    ["certificates and roots rotate", ir, rotated],
  ];

  it.each(changed)("%s", (_what, next, nextTrust) => {
    const after = chainsByName(translate(next, proxy, nextTrust), "gateway");
    const kept = [...after].filter(([name]) => before.has(name));
    expect(kept.length).toBeGreaterThan(1);
    for (const [name, bytes] of kept) expect(bytes).toBe(before.get(name));
  });

  it("cutting a peer off removes its chains and no other", () => {
    const after = chainsByName(translate({ ...ir, peers: ir.peers.slice(1) }, proxy, trust), "gateway");
    const gone = [...before.keys()].filter((name) => !after.has(name));
    expect(gone).toEqual(["export-chain|shop|stock|80|east", "export-chain|shop|stock|9000|east"]);
  });

  it("outside its chains the listener does not change either", () => {
    const rest = (set: ResourceSet) => JSON.stringify({ ...set.lds.get("gateway"), filter_chains: [] });
    for (const [, next, nextTrust] of changed)
      expect(rest(translate(next, proxy, nextTrust))).toBe(rest(translate(ir, proxy, trust)));
  });
});
