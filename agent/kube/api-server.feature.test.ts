// Against a real kube-apiserver and etcd: what no fake would have taught. One server for the file; each test has its own
// namespace. Faults come last, for they restart it.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createClient } from "./client.ts";
import { openConnection } from "./connection.ts";
import { systemClock } from "../../shared/clock.ts";
import type { Kube } from "./kube.ts";
import {
  httpRouteGroups,
  namespaces,
  pods,
  serviceExports,
  services,
  tcpRoutes,
  trafficTargets,
  endpointSlices,
} from "./resources.ts";
import { installCrds, opened, write, type OpenedKube } from "./testing/cluster-state.ts";
import { kubePrograms, startApiServer, type RealApiServer } from "./testing/real-api-server.ts";
import { startSilentProxy } from "./testing/silent-proxy.ts";
import { until } from "./testing/waiting.ts";

const programs = await kubePrograms();
const START_MS = 120_000;
/** An API server on a busy machine may need a second to answer one. */
const PING_MS = 2_000;

let server: RealApiServer | undefined;
let open: OpenedKube | undefined;
let kube: Kube;

describe.skipIf(programs === undefined)("the agent on a real API server", { timeout: 90_000 }, () => {
  beforeAll(async () => {
    const started = await startApiServer(programs!);
    const client = createClient(await openConnection({ kind: "kubeconfig", path: started.kubeconfig() }, systemClock));
    server = started;
    await installCrds(client);
    client.close();
    open = await opened(started.kubeconfig());
    kube = open.kube;
    // the API server makes its own Service in its own time; a test that counts changes must not see it come
    await until(kube, "its own Service", () => kube.stores.services.get("default", "kubernetes") !== undefined);
  }, START_MS);

  afterAll(async () => {
    await open?.close();
    await server?.stop();
  });

  const http = { ports: [{ name: "http", port: 80 }] };

  async function inNamespace(name: string): Promise<void> {
    await write(kube.client, namespaces, name, { metadata: { labels: { "isthmus.dev/inject": "enabled" } } });
    await until(kube, `namespace ${name}`, () => kube.inputs().meshNamespaces.includes(name));
  }

  it("sees every kind of object that it reads", async () => {
    await inNamespace("kinds");
    const { client } = kube;
    await write(client, services, "kinds/cart", { spec: { ...http, selector: { app: "cart" } } });
    await write(client, endpointSlices, "kinds/cart-1", {
      metadata: { labels: { "kubernetes.io/service-name": "cart" } },
      addressType: "IPv4",
      ports: [{ name: "http", port: 8080 }],
      endpoints: [{ addresses: ["10.1.0.7"], conditions: { ready: true }, targetRef: { kind: "Pod", name: "cart-x" } }],
    });
    await write(client, pods, "kinds/cart-x", {
      spec: { containers: [{ name: "c", image: "i" }], serviceAccountName: "cart" },
    });
    await write(client, serviceExports, "kinds/cart");
    await write(client, trafficTargets, "kinds/cart", {
      spec: {
        destination: { kind: "ServiceAccount", name: "cart", namespace: "kinds" },
        sources: [{ kind: "ServiceAccount", name: "web", namespace: "kinds" }],
        rules: [{ kind: "HTTPRouteGroup", name: "cart", matches: ["read"] }],
      },
    });
    const matches = [
      { name: "read", methods: ["GET"], pathRegex: "/items/.*", headers: { "X-Tenant": "a.*" } },
      { name: "list", headers: [{ "x-tenant": "b" }] },
    ];
    await write(client, httpRouteGroups, "kinds/cart", { spec: { matches } });
    await write(client, tcpRoutes, "kinds/all", { spec: {} });
    const mine = <T extends { readonly namespace: string }>(records: readonly T[]) =>
      records.filter((one) => one.namespace === "kinds");
    await until(kube, "all of them", () => {
      const { services, slices, pods, exports, trafficTargets, httpRouteGroups, tcpRoutes } = kube.inputs();
      return [services, slices, pods, exports, trafficTargets, httpRouteGroups, tcpRoutes].every(
        (records) => mine<{ readonly namespace: string }>(records).length === 1,
      );
    });
    const inputs = kube.inputs();
    expect(mine(inputs.services)[0]).toMatchObject({
      type: "ClusterIP",
      ports: [{ port: 80, targetPort: 80, protocol: "TCP" }],
    });
    expect(mine(inputs.services)[0]?.clusterIps).toHaveLength(1);
    expect(mine(inputs.slices)[0]).toMatchObject({
      service: "cart",
      endpoints: [{ address: "10.1.0.7", ready: true, podName: "cart-x" }],
    });
    expect(mine(inputs.pods)[0]).toMatchObject({ serviceAccount: "cart", meshed: false, workloadKind: "Pod" });
    expect(Date.now() - (mine(inputs.exports)[0]?.createdAtMs ?? 0)).toBeLessThan(120_000);
    expect(mine(inputs.httpRouteGroups)[0]?.matches.map((match) => match.headers)).toEqual([
      [{ name: "x-tenant", valueRegex: "a.*" }],
      [{ name: "x-tenant", valueRegex: "b" }],
    ]);
    expect(mine(inputs.tcpRoutes)[0]?.matches).toEqual([{ name: "", ports: [] }]);
  });

  it("is not disturbed by changes that mean nothing to the mesh", async () => {
    await inNamespace("quiet");
    await write(kube.client, services, "quiet/cart", { spec: http });
    await until(kube, "the service", () => kube.stores.services.get("quiet", "cart") !== undefined);
    const before = kube.stores.services.get("quiet", "cart");
    const told: string[] = [];
    const stop = kube.onChange((kinds) => told.push(...kinds));
    await write(kube.client, services, "quiet/cart", { metadata: { annotations: { note: "changed" } }, spec: http });
    await write(kube.client, services, "quiet/other", { spec: http }); // comes after it on the same watch
    await until(kube, "the later service", () => kube.stores.services.get("quiet", "other") !== undefined);
    stop();
    const after = kube.stores.services.get("quiet", "cart");
    expect(after?.resourceVersion).not.toBe(before?.resourceVersion);
    expect(after?.record).toBe(before?.record);
    expect(told.filter((kind) => kind === "Service")).toHaveLength(1);
  });

  it("gets a bookmark before a watch ends", async () => {
    const signal = AbortSignal.timeout(60_000);
    const list = await kube.client.listPage({ resource: services }, { limit: 500, next: "" }, signal);
    const from = { resourceVersion: list.resourceVersion, timeoutSeconds: 16, inactivityMs: 40_000 };
    const types: string[] = [];
    const watch = await kube.client.watch({ resource: services }, from, signal);
    // a collection that does not move while it is watched gets none; the last chance for one is two seconds before the end
    await inNamespace("bookmarks");
    await write(kube.client, services, "bookmarks/cart", { spec: http });
    for await (const batch of watch) types.push(...batch.map(({ type }) => type));
    expect(types).toContain("BOOKMARK");
  });

  it("notices within seconds that a connection has gone silent, and misses nothing", async () => {
    await inNamespace("silent");
    const proxy = await startSilentProxy(server!.port);
    const through = await opened(server!.kubeconfig(proxy.port), { client: { pingIntervalMs: PING_MS } });
    try {
      const connections = proxy.accepted();
      proxy.silence();
      await write(kube.client, services, "silent/cart", { spec: http });
      // nothing but an unanswered ping ends the connection so soon: the API server's own bookmarks come once a minute
      await until(
        through.kube,
        "the service written meanwhile",
        () => through.kube.stores.services.get("silent", "cart") !== undefined,
      );
      expect(proxy.accepted()).toBe(connections + 1);
      expect(connections).toBe(1); // lists and watches of every kind share it
    } finally {
      await through.close();
      await proxy.close();
    }
  });

  it("keeps the last state through a kill -9 of the API server, says so, and goes on without a flap", async () => {
    await inNamespace("outage");
    await write(kube.client, services, "outage/cart", { spec: http });
    await until(kube, "the service", () => kube.stores.services.get("outage", "cart") !== undefined);
    const before = kube.inputs();
    const records = new Map([...kube.stores.services.all()].map((entry) => [entry.uid, entry.record]));
    await server?.kill();
    await until(kube, "stale", () => kube.states().every(({ feed }) => feed.state === "stale"));
    expect(kube.inputs().services).toBe(before.services);
    expect(kube.synced()).toBe(true);
    await server?.restart();
    await until(kube, "current again", () => kube.states().every(({ feed }) => feed.state === "synced"), 60_000);
    for (const entry of kube.stores.services.all()) expect(entry.record).toBe(records.get(entry.uid));
    await write(kube.client, services, "outage/later", { spec: http });
    await until(kube, "a later service", () => kube.stores.services.get("outage", "later") !== undefined);
  });

  it("lists again after 410 and touches only what differs", async () => {
    await inNamespace("compacted");
    const proxy = await startSilentProxy(server!.port);
    const through = await opened(server!.kubeconfig(proxy.port));
    try {
      for (const name of ["kept", "changed", "removed"])
        await write(kube.client, services, `compacted/${name}`, { spec: http });
      const seen = (name: string) => through.kube.stores.services.get("compacted", name);
      await until(through.kube, "three services", () =>
        ["kept", "changed", "removed"].every((name) => seen(name) !== undefined),
      );
      const kept = seen("kept")?.record;
      proxy.refuse();
      await until(through.kube, "stale", () => through.kube.states().every(({ feed }) => feed.state === "stale"));
      const told: string[] = [];
      const stop = through.kube.onChange((kinds) => told.push(...kinds));
      await write(kube.client, services, "compacted/changed", { spec: { ports: [{ name: "http", port: 81 }] } });
      await kube.client.remove({ resource: services, namespace: "compacted", name: "removed" });
      await write(kube.client, services, "compacted/added", { spec: http });
      await server?.compact();
      await server?.kill(); // its watch cache could still bridge the gap
      await server?.restart();
      proxy.allow();
      await until(
        through.kube,
        "the new state",
        () => seen("added") !== undefined && seen("removed") === undefined,
        60_000,
      );
      stop();
      expect(seen("kept")?.record).toBe(kept);
      expect(seen("changed")?.record?.ports[0]?.port).toBe(81);
      expect(told.filter((kind) => kind === "Service").length).toBeLessThanOrEqual(2); // the relist, and the state
      expect(proxy.open()).toBe(1);
    } finally {
      await through.close();
      await proxy.close();
    }
  });
});
