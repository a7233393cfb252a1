// An HTTP connection manager that comes by ECDS, on a real Envoy: Envoy's documentation speaks of it for other filters only, and
// every HTTP chain of a client depends on what is asserted here (decision 0053).
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
  const discovery = { config_source: { ads: {}, resource_api_version: "V3" }, type_urls: [managerType] };
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
  const launch = async (lists: Parameters<typeof aSnapshot>[0]) => {
    current = aSnapshot(lists);
    const onClass = ({ wanted }: { readonly wanted: boolean }) => {
      if (wanted) setImmediate(() => agent.server.publish(classKey, current));
    };
    agent = await startAgent(tls.credentials, { onClass });
    agent.server.open();
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
  /** A question about a name that is nobody's was answered. */
  const told = (name: string) =>
    eventuallyTrue(`${name} is told to be missing`, () => agent.acks.some(({ removed }) => removed.includes(name)));
  const warming = () => proxy?.stat("listener_manager.total_listeners_warming");
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
    await told("cart-routes");
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
    await told("pay-routes");
    expect(await warming()).toBe(1);
    expect(await ask(new Agent())).toEqual({ status: 200, body: "cart" });
    publish({ ...both, rds: [...before.rds, answering("pay")] });
    await eventuallyTrue("nothing is warming", async () => (await warming()) === 0);
    expect(await proxy?.stat("listener_manager.listener_in_place_updated")).toBe(1);
  });

  it("may change while connections are open: they live on, and new ones have the new filter", async () => {
    const lists = { lds: [listener([chain("cart")])], rds: [answering("cart")] };
    await launch({ ...lists, ecds: [filter("cart", "one")] });
    await eventuallyTrue("Envoy is live", () => proxy?.isReady() ?? false);
    const kept = new Agent({ keepAlive: true, maxSockets: 1 });
    expect(await ask(kept)).toEqual({ status: 200, body: "cart" });
    publish({ ...lists, ecds: [filter("cart", "two")] });
    await acked("cart");
    expect(await ask(new Agent())).toEqual({ status: 200, body: "cart" });
    expect(await ask(kept)).toEqual({ status: 200, body: "cart" });
    const requests = (prefix: string) => proxy?.stat(`http.${prefix}.downstream_rq_total`);
    expect([await requests("one"), await requests("two")]).toEqual([2, 1]);
    expect(await proxy?.stat("server.envoy_bug_failures")).toBe(0);
    expect(agent.nacks).toEqual([]);
    kept.destroy();
  });
});
