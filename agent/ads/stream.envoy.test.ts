// The stream as a real Envoy sees it: delta ADS over TLS, the token by credential_injector, nothing simulated.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ResourceSet, Snapshot } from "../xds/resource.ts";
import { eventually, findEnvoy } from "../xds/testing/envoy.ts";
import { readCase } from "../xds/testing/mesh-case.ts";
import { translate } from "../xds/translate.ts";
import { createSwappableCredentials, type SwappableCredentials } from "./credentials.ts";
import { classKey, startAgent, type TestAgent } from "./testing/agent.ts";
import { aProxyHome, startProxy, type ProxyHome, type TestProxy } from "./testing/proxy.ts";
import { aCluster, aListener, aMesh, aRouteTable, aSnapshot, encodeSnapshot } from "./testing/resources.ts";

/** A warming that waits for its time-out takes Envoy 15 s; all else is a matter of how busy the machine is. */
const WARMING_MS = 12_000;
const DEADLINE_MS = 30_000;
const found = findEnvoy();
const soon = <T>(what: string, probe: () => Promise<T | undefined>, deadlineMs = DEADLINE_MS) =>
  eventually(what, probe, deadlineMs);
const envoy = "path" in found ? found.path : "";

describe.skipIf(envoy === "")("a real Envoy on the ADS stream", { timeout: 2 * DEADLINE_MS }, () => {
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
    soon(`Envoy is live\n${proxy?.log() ?? ""}`, async () =>
      (await proxy?.isReady()) === true &&
      (await proxy?.stat("listener_manager.total_listeners_active")) === current.resources.lds.size
        ? true
        : undefined,
    );
  const ackedVersion = (name: string, version: string, deadlineMs?: number) =>
    soon(
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
    expect(performance.now() - before).toBeLessThan(WARMING_MS);
    expect(await proxy.stat("cluster_manager.warming_clusters")).toBe(0);
  });

  it("needs no routes again when its listener changes, in place or as a whole", async () => {
    const mesh = aMesh(["cart"]);
    await launch(aSnapshot(mesh));
    proxy = await startProxy(envoy, home, agent.port);
    await live();
    const chain = aListener("outbound", "routes", "changed");
    for (const listener of [chain, { ...chain, per_connection_buffer_limit_bytes: 4096 }]) {
      const next = aSnapshot({ ...mesh, lds: [listener] });
      publish(next);
      await ackedVersion("outbound", next.resources.lds.get("outbound")?.version ?? "", WARMING_MS);
      await live();
      expect(await proxy.stat("listener_manager.total_listeners_warming")).toBe(0);
    }
    expect(await proxy.stat("listener_manager.listener_in_place_updated")).toBe(1);
    expect(agent.sent.filter((event) => event.type === "rds").length).toBe(1);
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
    await soon("the culprit is found", () => Promise.resolve(agent.server.counters().quarantined || undefined));
    expect(await proxy.stat("listener_manager.total_listeners_active")).toBe(2);
    expect(agent.nacks.at(-1)?.culprit?.name).toBe("outbound");
  });

  it("starts with 499 of 500 clusters when one is invalid, although it takes nothing of a response that fails validation", async () => {
    const names = Array.from({ length: 500 }, (_, index) => `service-${index}`);
    const mesh = aMesh(names);
    // refused by validation, not by its factory: the whole response is void, and its text is a dump of the message
    const poison = { ...aCluster("service-77"), connect_timeout: "0s" };
    const clusters = mesh.cds ?? [];
    await launch(aSnapshot({ ...mesh, cds: clusters.map((one) => (one["name"] === "service-77" ? poison : one)) }));
    proxy = await startProxy(envoy, home, agent.port);
    const static_ = 2;
    await soon(`499 clusters are up\n${proxy.log()}`, async () =>
      (await proxy?.stat("cluster_manager.active_clusters")) === 499 + static_ ? true : undefined,
    );
    await soon("the culprit is found", () => Promise.resolve(agent.nacks.find((one) => one.culprit !== undefined)));
    expect(agent.nacks.at(-1)?.culprit?.name).toBe("service-77");
    await live();
  });

  it("is served everything again after a refusal and a reconnect to a restarted agent", async () => {
    const mesh = aMesh(["cart", "pay"]);
    await launch(aSnapshot(mesh));
    const { port } = agent;
    proxy = await startProxy(envoy, home, port);
    await live();
    const poison = { ...aCluster("cart"), lb_policy: "CLUSTER_PROVIDED" };
    const refused = aSnapshot({ ...mesh, cds: [poison, aCluster("pay", "7s")] });
    publish(refused);
    await soon("the culprit is found", () => Promise.resolve(agent.nacks.find((one) => one.culprit !== undefined)));
    await ackedVersion("pay", refused.resources.cds.get("pay")?.version ?? "");
    await agent.stop();
    tls.replace(home.agentIdentity());
    const mended = aSnapshot(aMesh(["cart", "pay", "ship"], "9s"));
    await launch(mended, port);
    for (const name of ["cart", "pay", "ship"]) {
      await ackedVersion(name, mended.resources.cds.get(name)?.version ?? "");
    }
    await ackedVersion("routes", mended.resources.rds.get("routes")?.version ?? "");
    expect(await proxy.admin("/clusters")).toContain("ship::127.0.0.1:80::");
    expect(await proxy.stat("cluster_manager.warming_clusters")).toBe(0);
  });

  it("is sent nothing by a restarted agent that has the same configuration", async () => {
    const mesh = aMesh(["cart", "pay"]);
    await launch(aSnapshot(mesh));
    const { port } = agent;
    proxy = await startProxy(envoy, home, port);
    await live();
    await agent.stop();
    await launch(aSnapshot(mesh), port);
    await soon("Envoy is back", () => Promise.resolve(agent.server.counters().streams || undefined));
    const more = aSnapshot({ ...mesh, rds: [aRouteTable("routes", ["pay"])] });
    publish(more);
    await ackedVersion("routes", more.resources.rds.get("routes")?.version ?? "");
    // twice when the change came before Envoy had stated its subscription again; what did not change, never
    const sent = agent.sent.flatMap((event) => event.resources.map((one) => one.name));
    expect([...new Set(sent)]).toEqual(["routes"]);
  });

  it("swaps one service for another without a moment in which a route has no cluster", async () => {
    await launch(aSnapshot(aMesh(["cart"])));
    proxy = await startProxy(envoy, home, agent.port);
    await live();
    const next = aSnapshot(aMesh(["pay"]));
    const before = agent.sent.length;
    publish(next);
    await soon("the old cluster is gone", () =>
      Promise.resolve(agent.acks.find((event) => event.type === "cds" && event.removed.includes("cart"))),
    );
    const order = agent.sent
      .slice(before, before + 4)
      .map((event) => [event.type, event.resources.map((one) => one.name), event.removed]);
    expect(order).toEqual([
      ["cds", ["pay"], []],
      ["eds", ["pay"], []],
      ["rds", ["routes"], []],
      ["cds", [], ["cart"]],
    ]);
    expect(agent.nacks).toEqual([]);
  });

  it.each(["client-local-and-remote-weights", "server-grants-with-matches", "gateway-two-peers-two-ports"])(
    "takes the whole mesh of %s with its secrets, and a new certificate later",
    async (name) => {
      const text = readFileSync(join(import.meta.dirname, "../xds/testdata", name, "in.yaml"), "utf8");
      const { ir, proxy: proxyClass, settings } = readCase(text);
      const trust = () => home.fleet.svid("east", "shop", "front");
      const configured = () => unbound(translate(ir, proxyClass, trust(), settings));
      await launch(encodeSnapshot(configured()));
      proxy = await startProxy(envoy, home, agent.port);
      await live();
      expect(agent.nacks).toEqual([]);
      expect(await proxy.stat("cluster_manager.warming_clusters")).toBe(0);
      // what is sent, not what is acknowledged: the last ACKs of the first mesh may still be on their way
      agent.sent.length = 0;
      const renewed = encodeSnapshot(configured(), current);
      publish(renewed);
      await ackedVersion("svid", renewed.resources.sds.get("svid")?.version ?? "");
      expect(agent.sent.map((event) => event.type)).toEqual(["sds"]);
    },
  );
});

/** The same listeners without their ports, which other tests on this machine may use. */
function unbound(set: ResourceSet): ResourceSet {
  const lds = new Map([...set.lds].map(([name, listener]) => [name, { ...listener, bind_to_port: false }]));
  return { ...set, lds };
}
