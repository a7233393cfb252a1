// Policy and services that come, go and come back quickly, as a real Envoy takes them: whatever was under way when the next change came, it ends
// with exactly what is published. Chains of the step before are still draining then, which is where a filter that came back once lost
// its routes for ever (decision 0053).
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MeshIr } from "../ir/types.ts";
import { randomOf } from "../../shared/testing/random.ts";
import { decodeJson } from "../../shared/wire.ts";
import { typeUrls, type JsonMessage, type ResourceSet, type ResourceType, type Snapshot } from "../xds/resource.ts";
import { eventually, findEnvoy } from "../xds/testing/envoy.ts";
import { readCase } from "../xds/testing/mesh-case.ts";
import { translate } from "../xds/translate.ts";
import { createSwappableCredentials, type SwappableCredentials } from "./credentials.ts";
import { classKey, startAgent, type TestAgent } from "./testing/agent.ts";
import { aProxyHome, startProxy, type ProxyHome, type TestProxy } from "./testing/proxy.ts";
import { encodeSnapshot } from "./testing/resources.ts";

const STEPS = 60;
/** A step takes a tenth of a second; a proxy that waits for something waits 15 s. */
const SETTLE_MS = 10_000;
const found = findEnvoy();
const envoy = "path" in found ? found.path : "";

/** Six services, each of which may be there, granted, with pods, HTTP or raw TCP; one in another member, and a split of the first. */
function randomMesh(random: () => number): MeshIr {
  const often = () => random() < 0.7;
  const names = ["a", "b", "c", "d", "e", "f"].filter(often);
  const services = names.map((name, index) => {
    const local = often() ? [{ address: `10.244.0.${name.charCodeAt(0)}`, serviceAccount: name }] : [];
    const remote =
      name === "f" ? [{ cluster: "west", gateways: [{ host: "198.18.2.1", port: 15443 }], ready: 1, total: 1 }] : [];
    const port = { port: 80, protocol: random() < 0.8 ? "http" : "tcp", local, remote };
    return { name, vips: [`10.96.0.${index + 1}`], ports: [port], ...(name === "f" ? { scope: "fleet" } : {}) };
  });
  const grants = names.filter(often).map((name) => ({ name, from: ["east/shop/front"], to: `shop/${name}` }));
  const weights = { "cluster/shop/b": Math.floor(random() * 3), "cluster/shop/c": 1 + Math.floor(random() * 3) };
  const split = { root: "cluster/shop/a", ports: [{ port: 80, backends: weights }] };
  const isSplit = ["a", "b", "c"].every((name) => names.includes(name)) && often();
  const proxy = { ...{ kind: "sidecar", namespace: "shop", serviceAccount: "front" }, inbound: [] };
  const workload = { workloadKind: "Deployment", workloadName: "front" };
  const egress = often() ? {} : { egress: { on: false, exceptions: [] } };
  const input = { proxy: { ...proxy, ...workload }, services, grants, splits: isSplit ? [split] : [], ...egress };
  return readCase(JSON.stringify(input)).ir;
}

const proxyClass = readCase(
  "proxy: { kind: sidecar, namespace: shop, serviceAccount: front, workloadKind: Deployment, workloadName: front, inbound: [] }",
).proxy;

interface Dump {
  readonly configs: readonly JsonMessage[];
}

function listOf(dump: Dump, type: string, field: string): readonly JsonMessage[] {
  const config = dump.configs.find((one) => one["@type"] === `type.googleapis.com/envoy.admin.v3.${type}`);
  return (config?.[field] ?? []) as readonly JsonMessage[];
}

/** A version each, of what the proxy uses or is told to use. */
type Versions = Readonly<Record<string, unknown>>;

function versionsOf(list: readonly JsonMessage[], nameIn: string): Versions {
  return Object.fromEntries(list.map((one) => [(one[nameIn] as JsonMessage)["name"] as string, one["version_info"]]));
}

/** Of a listener its chains and their filters: one that was changed in place is shown under the version that it had before. */
function chainsOf(listeners: readonly JsonMessage[]): Versions {
  const chains = (listener: JsonMessage) => (listener["filter_chains"] ?? []) as readonly JsonMessage[];
  const filters = (chain: JsonMessage) => (chain["filters"] ?? []) as readonly JsonMessage[];
  const named = (chain: JsonMessage) => [chain["name"], ...filters(chain).map((filter) => filter["name"])];
  return Object.fromEntries(listeners.map((one) => [one["name"] as string, JSON.stringify(chains(one).map(named))]));
}

/** What differs from what is published, and what is warming: empty in the end. */
function unsettled(dump: Dump, published: Snapshot): readonly string[] {
  const listeners = listOf(dump, "ListenersConfigDump", "dynamic_listeners");
  const active = listeners.map((one) => (one["active_state"] as JsonMessage | undefined)?.["listener"] as JsonMessage);
  const now = {
    lds: chainsOf(active.filter((one) => (one as JsonMessage | undefined) !== undefined)),
    cds: versionsOf(listOf(dump, "ClustersConfigDump", "dynamic_active_clusters"), "cluster"),
    rds: versionsOf(listOf(dump, "RoutesConfigDump", "dynamic_route_configs"), "route_config"),
  };
  const wanted = (type: ResourceType) => {
    const all = [...published.resources[type].values()];
    if (type === "lds") return chainsOf(all.map(({ bytes }) => decodeJson(typeUrls.lds, bytes)));
    return Object.fromEntries(all.map(({ name, version }) => [name, version]));
  };
  const differing = (["lds", "cds", "rds"] as const).flatMap((type) =>
    Object.entries(wanted(type)).flatMap(([name, version]) =>
      now[type][name] === version ? [] : [`${type} ${name}: ${String(now[type][name])}, not ${String(version)}`],
    ),
  );
  // tables of chains that are draining are there too, clusters that nothing names are not
  const surplus = Object.keys(now.cds).filter((name) => !published.resources.cds.has(name));
  const warming = [
    ...listeners.filter((one) => one["warming_state"] !== undefined),
    ...listOf(dump, "ClustersConfigDump", "dynamic_warming_clusters"),
  ];
  return [
    ...differing,
    ...surplus.map((name) => `cds ${name} is still there`),
    ...warming.map((one) => `warming: ${JSON.stringify(one["name"] ?? (one["cluster"] as JsonMessage)["name"])}`),
  ];
}

describe.skipIf(envoy === "")("a real Envoy under changes that follow each other quickly", { timeout: 180_000 }, () => {
  let home: ProxyHome;
  let tls: SwappableCredentials;
  beforeAll(() => {
    home = aProxyHome();
    tls = createSwappableCredentials(home.agentIdentity());
  });
  afterAll(() => home.remove());

  const trust = { rootsPem: "", chainPem: "", keyPem: "" };
  const resources = (ir: MeshIr): ResourceSet => {
    const set = translate(ir, proxyClass, trust);
    const lds = new Map([...set.lds].map(([name, listener]) => [name, { ...listener, bind_to_port: false }]));
    return { ...set, lds };
  };

  async function settled(proxy: TestProxy, agent: TestAgent, set: ResourceSet): Promise<void> {
    const published = encodeSnapshot(set);
    let left: readonly string[] = [];
    const done = async () => {
      left = unsettled(JSON.parse(await proxy.admin("/config_dump")) as Dump, published);
      return left.length === 0 ? true : undefined;
    };
    await eventually("everything is as published", done, SETTLE_MS).catch((error: unknown) => {
      throw new Error(left.join("\n"), { cause: error });
    });
    expect(agent.nacks).toEqual([]);
  }

  it.each([
    { about: "gone a second later", drainSeconds: 1, seed: 1 },
    { about: "draining to the end", drainSeconds: 600, seed: 2 },
  ])("ends with what is published, old chains $about", async ({ drainSeconds, seed }) => {
    const random = randomOf(seed);
    const mine = home.fleet.svid("east", "shop", "front");
    Object.assign(trust, mine);
    let set = resources(randomMesh(random));
    let snapshot = encodeSnapshot(set);
    const onClass = ({ wanted }: { readonly wanted: boolean }) => {
      if (wanted) setImmediate(() => agent.server.publish(classKey, snapshot));
    };
    const agent: TestAgent = await startAgent(tls.credentials, { onClass });
    agent.server.open();
    const proxy = await startProxy(envoy, home, agent.port, { drainSeconds });
    try {
      await settled(proxy, agent, set);
      for (let step = 0; step < STEPS; step += 1) {
        const changes = 1 + Math.floor(random() * 4);
        for (let change = 0; change < changes; change += 1) {
          set = resources(randomMesh(random));
          snapshot = encodeSnapshot(set, snapshot);
          agent.server.publish(classKey, snapshot);
          // whatever the proxy is in the middle of by then
          await new Promise((resolve) => setTimeout(resolve, random() * 20));
        }
        await settled(proxy, agent, set);
      }
      expect(await proxy.stat("server.envoy_bug_failures")).toBe(0);
    } finally {
      await proxy.stop();
      await agent.stop();
    }
  });
});
