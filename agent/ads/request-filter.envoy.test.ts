// An HTTP connection manager that comes by ECDS, on a real Envoy: Envoy's documentation speaks of it for other filters only, and
// every HTTP chain of a client depends on what is asserted here (decision 0053). What is never done has no test: another content under the
// same name, which ends Envoy 1.40 where the chain is older than its listener.
import { Agent, get, type IncomingMessage } from "node:http";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ownGround } from "../../shared/testing/ground.ts";
import type { JsonMessage, Snapshot } from "../xds/resource.ts";
import { eventually, findEnvoy } from "../xds/testing/envoy.ts";
import { createSwappableCredentials, type SwappableCredentials } from "./credentials.ts";
import { classKey, startAgent, type TestAgent } from "./testing/agent.ts";
import { aProxyHome, startProxy, type ProxyHome, type TestProxy } from "./testing/proxy.ts";
import { aListener, aSnapshot, httpManager } from "./testing/resources.ts";

const found = findEnvoy();
const envoy = "path" in found ? found.path : "";
const managerType = httpManager("", "")["@type"] as string;

function chain(filter: string, port?: number): JsonMessage {
  const source = { ads: {}, resource_api_version: "V3", initial_fetch_timeout: "0s" };
  const discovery = { config_source: source, type_urls: [managerType] };
  return {
    name: filter,
    ...(port === undefined ? {} : { filter_chain_match: { destination_port: port } }),
    filters: [{ name: filter, config_discovery: discovery }],
  };
}

function filter(name: string, statPrefix: string): JsonMessage {
  return { name, typed_config: httpManager(`${name}-routes`, statPrefix) };
}

function answering(name: string): JsonMessage {
  const route = { match: { prefix: "/" }, direct_response: { status: 200, body: { inline_string: name } } };
  return { name: `${name}-routes`, virtual_hosts: [{ name: "all", domains: ["*"], routes: [route] }] };
}

describe.skipIf(envoy === "")("an HTTP filter that comes by ECDS", { timeout: 60_000 }, () => {
  let home: ProxyHome;
  let tls: SwappableCredentials;
  let agent: TestAgent;
  let proxy: TestProxy | undefined;
  let port: number;
  let current: Snapshot;

  const listener = (chains: readonly JsonMessage[]): JsonMessage => ({
    ...aListener("outbound", ""),
    bind_to_port: true,
    address: { socket_address: { address: "127.0.0.1", port_value: port } },
    filter_chains: chains,
  });
  const publish = (lists: Parameters<typeof aSnapshot>[0]) => {
    current = aSnapshot(lists);
    agent.server.publish(classKey, current);
  };
  const serve = async (lists: Parameters<typeof aSnapshot>[0], adsPort = 0) => {
    current = aSnapshot(lists);
    const onClass = ({ wanted }: { readonly wanted: boolean }) => {
      if (wanted) setImmediate(() => agent.server.publish(classKey, current));
    };
    agent = await startAgent(tls.credentials, { port: adsPort, onClass });
    agent.server.open();
  };
  const launch = async (lists: Parameters<typeof aSnapshot>[0]) => {
    await serve(lists);
    proxy = await startProxy(envoy, home, agent.port);
  };
  const eventuallyTrue = (what: string, probe: () => Promise<boolean | undefined> | boolean) =>
    eventually(`${what}\n${proxy?.log() ?? ""}`, async () => ((await probe()) === true ? true : undefined), 30_000);
  const acked = (name: string) =>
    eventuallyTrue(`${name} is acknowledged`, () =>
      agent.acks.some(({ type, resources }) => {
        const newest = current.resources[type].get(name)?.version;
        return resources.some((one) => one.name === name && one.version === newest);
      }),
    );
  const warming = () => proxy?.stat("listener_manager.total_listeners_warming");
  const draining = () => proxy?.stat("listener_manager.total_filter_chains_draining");
  const ask = async (through: Agent) => {
    const [answer] = (await once(get({ host: "127.0.0.1", port, agent: through }), "response")) as [IncomingMessage];
    const body = (await answer.toArray()).join("");
    return { status: answer.statusCode, body };
  };

  beforeAll(async () => {
    home = aProxyHome();
    tls = createSwappableCredentials(home.agentIdentity());
    port = await (await ownGround()).port();
  });
  afterAll(() => home.remove());
  afterEach(async () => {
    await proxy?.stop();
    await agent.stop();
  });

  it("keeps a proxy that starts from being ready until its routes came", async () => {
    const lists = { lds: [listener([chain("cart")])], ecds: [filter("cart", "one")] };
    await launch(lists);
    await acked("cart");
    expect(await proxy?.isReady()).toBe(false);
    publish({ ...lists, rds: [answering("cart")] });
    await eventuallyTrue("Envoy is live", () => proxy?.isReady() ?? false);
  });

  it("keeps a listener that gets another chain warming until that chain's routes came, and the old chains go on", async () => {
    const before = { ecds: [filter("cart", "one")], rds: [answering("cart")] };
    await launch({ ...before, lds: [listener([chain("cart")])] });
    await eventuallyTrue("Envoy is live", () => proxy?.isReady() ?? false);
    const both = {
      lds: [listener([chain("cart"), chain("pay", 9)])],
      ecds: [...before.ecds, filter("pay", "one")],
      rds: before.rds,
    };
    publish(both);
    await acked("pay");
    expect(await warming()).toBe(1);
    expect(await ask(new Agent())).toEqual({ status: 200, body: "cart" });
    publish({ ...both, rds: [...before.rds, answering("pay")] });
    await eventuallyTrue("nothing is warming", async () => (await warming()) === 0);
    expect(await proxy?.stat("listener_manager.listener_in_place_updated")).toBe(1);
  });

  it("may be sent again to chains that are older than their listener, as after a restart of the agent", async () => {
    const filters = { ecds: [filter("cart", "one"), filter("pay", "one")], rds: [answering("cart"), answering("pay")] };
    const beside = (age: number) => ({
      ...filters,
      lds: [listener([chain("cart"), { ...chain("pay", 9), name: `pay-${age}` }])],
    });
    await launch(beside(0));
    await eventuallyTrue("Envoy is live", () => proxy?.isReady() ?? false);
    for (const age of [1, 2, 3]) {
      publish(beside(age));
      await acked("outbound");
      await eventuallyTrue("the old chain is gone", async () => (await draining()) === 0 && (await warming()) === 0);
    }
    const { port: adsPort } = agent;
    await agent.stop();
    await serve(beside(4), adsPort);
    await acked("cart");
    expect(await ask(new Agent())).toEqual({ status: 200, body: "cart" });
    expect(await proxy?.stat("listener_manager.listener_in_place_updated")).toBe(4);
    expect(await proxy?.stat("server.envoy_bug_failures")).toBe(0);
  });

  it.each([
    { about: "without connections", open: false },
    { about: "while a connection to it is open", open: true },
  ])("may go and come back with its chain $about", async ({ open }) => {
    const other = { lds: [chain("pay", 9)], ecds: [filter("pay", "one")], rds: [answering("pay")] };
    const both = {
      lds: [listener([chain("cart"), ...other.lds])],
      ecds: [filter("cart", "one"), ...other.ecds],
      rds: [answering("cart"), ...other.rds],
    };
    await launch(both);
    await eventuallyTrue("Envoy is live", () => proxy?.isReady() ?? false);
    const kept = new Agent({ keepAlive: true, maxSockets: 1 });
    if (open) expect(await ask(kept)).toEqual({ status: 200, body: "cart" });
    for (let round = 0; round < 3; round += 1) {
      publish({ ...other, lds: [listener(other.lds)] });
      await acked("outbound");
      publish(both);
      agent.acks.length = 0;
      await acked("outbound");
      await eventuallyTrue("nothing is warming", async () => (await warming()) === 0);
      expect(await ask(new Agent())).toEqual({ status: 200, body: "cart" });
    }
    kept.destroy();
  });
});
