// The stream as a real Envoy sees it: delta ADS over TLS, the token by credential_injector, nothing simulated.
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Snapshot } from "../xds/resource.ts";
import { eventually, findEnvoy } from "../xds/testing/envoy.ts";
import { createSwappableCredentials, type SwappableCredentials } from "./credentials.ts";
import { classKey, startAgent, type TestAgent } from "./testing/agent.ts";
import { aProxyHome, startProxy, type ProxyHome, type TestProxy } from "./testing/proxy.ts";
import { aListener, aMesh, aSnapshot } from "./testing/resources.ts";

const found = findEnvoy();
const envoy = "path" in found ? found.path : "";

describe.skipIf(envoy === "")("a real Envoy on the ADS stream", () => {
  let home: ProxyHome;
  let tls: SwappableCredentials;
  let agent: TestAgent;
  let proxy: TestProxy | undefined;
  let current: Snapshot;

  const publish = (snapshot: Snapshot) => {
    current = snapshot;
    agent.server.publish(classKey, snapshot);
  };
  const launch = async (snapshot: Snapshot, port = 0) => {
    current = snapshot;
    agent = await startAgent(tls.credentials, {
      port,
      onClass: ({ wanted }) => {
        if (wanted) setImmediate(() => agent.server.publish(classKey, current));
      },
    });
    agent.server.open();
  };
  const live = () =>
    eventually(`Envoy is live\n${proxy?.log() ?? ""}`, async () =>
      (await proxy?.stat("server.state")) === 0 &&
      (await proxy?.stat("listener_manager.total_listeners_active")) === current.resources.lds.size
        ? true
        : undefined,
    );
  const ackedVersion = (name: string, version: string, deadlineMs?: number) =>
    eventually(
      `${name} is acknowledged\n${proxy?.log() ?? ""}`,
      () =>
        Promise.resolve(
          agent.acks.some((event) => event.resources.some((one) => one.name === name && one.version === version)) ||
            undefined,
        ),
      deadlineMs,
    );

  beforeAll(() => {
    home = aProxyHome();
    tls = createSwappableCredentials(home.agentIdentity());
  });
  afterAll(() => home.remove());
  afterEach(async () => {
    await proxy?.stop();
    await agent.stop();
  });

  it("starts from an empty proxy and becomes ready", async () => {
    await launch(aSnapshot(aMesh(["cart", "pay"])));
    proxy = await startProxy(envoy, home, agent.port);
    await live();
    expect(await proxy.stat("cluster_manager.warming_clusters")).toBe(0);
    expect(agent.nacks).toEqual([]);
    expect(await proxy.admin("/clusters")).toContain("cart::127.0.0.1:80::");
  });

  it("is never left with a warming cluster by a change of clusters alone", async () => {
    await launch(aSnapshot(aMesh(["cart", "pay"], "1s")));
    proxy = await startProxy(envoy, home, agent.port);
    await live();
    const next = aSnapshot(aMesh(["cart", "pay"], "2s"));
    const before = performance.now();
    publish(next);
    await ackedVersion("cart", next.resources.cds.get("cart")?.version ?? "");
    expect(performance.now() - before).toBeLessThan(2_000);
    expect(await proxy.stat("cluster_manager.warming_clusters")).toBe(0);
  });

  it("keeps what it has when one listener is refused, and the others go on", async () => {
    const mesh = aMesh(["cart"]);
    await launch(aSnapshot(mesh));
    proxy = await startProxy(envoy, home, agent.port);
    await live();
    const poison = { ...aListener("outbound", "routes", "new"), filter_chains: [] };
    const next = aSnapshot({ ...mesh, lds: [poison, aListener("second", "routes")] });
    publish(next);
    await ackedVersion("second", next.resources.lds.get("second")?.version ?? "");
    await eventually("the culprit is found", () => Promise.resolve(agent.server.counters().quarantined || undefined));
    expect(await proxy.stat("listener_manager.total_listeners_active")).toBe(2);
    expect(agent.nacks.at(-1)?.culprit?.name).toBe("outbound");
  });
});
