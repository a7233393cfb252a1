// Every capability once, on one fleet of three members: clusters or sites. Rows run side by side, each in a namespace of
// its own. A row that needs a kubelet or an API server runs on clusters only.
import { beforeAll, describe, expect, test } from "vitest";
import { importUrl, untilStatus } from "../stage/asking.ts";
import { fleetDomain } from "../stage/fleet-domain.ts";
import type { Scene } from "../stage/fleet-under-test.ts";
import { asClusters, openRunnersFleet, runnersFleetKind, type RunnersFleet } from "../stage/runners-fleet.ts";
import { until } from "../stage/until.ts";
import { splitsAndTurnsOver } from "./smi/smoke.ts";
import {
  HTTP_PORT,
  httpRouteGroup,
  replicated,
  serviceExport,
  TCP_PORT,
  tcpRoute,
  trafficTarget,
  workload,
  type HttpMatch,
} from "../stage/workload.ts";

/** On a busy machine a timing row asserts three times its bar; the bars themselves belong to the benches. */
const BUSY = 3;

const onClusters = runnersFleetKind() === "clusters";
let fleet: RunnersFleet;
beforeAll(async () => {
  fleet = await openRunnersFleet();
});

async function withScene(namespace: string, members: readonly string[], work: (scene: Scene) => Promise<void>) {
  const scene = await fleet.openScene(namespace, members);
  try {
    await work(scene);
  } finally {
    await scene.close();
  }
}

/** `server` in the given clusters, exported, granted to `client` of east for these matches. */
async function deployServer(scene: Scene, clusters: readonly string[], matches: readonly HttpMatch[]): Promise<void> {
  const { namespace, image } = scene;
  const rule = { kind: "HTTPRouteGroup", name: "server" } as const;
  const grant = { namespace, name: "server", to: "server", from: ["client"], sourceClusters: "east", rule };
  await Promise.all(
    clusters.map((cluster) =>
      scene.apply(cluster, [
        ...workload({ namespace, name: "server", image }),
        serviceExport(namespace, "server"),
        httpRouteGroup(namespace, "server", matches),
        trafficTarget(grant),
      ]),
    ),
  );
}

async function deployClient(scene: Scene): Promise<void> {
  const { namespace, image } = scene;
  await scene.apply("east", workload({ namespace, name: "client", image }));
  await scene.ready("east");
}

describe.concurrent("across members", () => {
  test("a service that exists only elsewhere is answered by every cluster that has it, and sees the caller's identity", () =>
    withScene("e2e-across", ["east", "west", "north"], async (scene) => {
      await deployServer(scene, ["west", "north"], [{ name: "all", pathRegex: "/.*" }]);
      await deployClient(scene);
      const client = await scene.caller("east", "client");
      const url = importUrl("server", scene.namespace);
      const first = await untilStatus(client, url, 200);
      expect(JSON.parse(first.body ?? "")).toMatchObject({
        caller: `spiffe://east.${fleetDomain}/ns/${scene.namespace}/sa/client`,
      });
      const seen = new Set<string | undefined>();
      await until("answers from both clusters", 30_000, async () => {
        seen.add((await client.request({ url })).headers?.["x-shop-cluster"]);
        return seen.has("west") && seen.has("north");
      });
      await scene.ready("west");
    }));

  test("a forged client certificate header does not reach the server, and path tricks do not widen a grant", () =>
    withScene("e2e-tricks", ["east", "west"], async (scene) => {
      await deployServer(scene, ["west"], [{ name: "public", pathRegex: "/public.*", methods: ["GET"] }]);
      await deployClient(scene);
      const client = await scene.caller("east", "client");
      const at = (path: string) => importUrl("server", scene.namespace, path);
      await untilStatus(client, at("/public/a"), 200);
      const headers = { "x-forwarded-client-cert": "URI=spiffe://east.acme.mesh/ns/kube-system/sa/admin" };
      const forged = await client.request({ url: at("/public/a"), headers });
      expect(JSON.parse(forged.body ?? "")).toMatchObject({ caller: expect.stringMatching(/\/sa\/client$/) as string });
      const tricks = [
        "/admin",
        "/public/../admin",
        "/public/..%2fadmin",
        "/public/%2e%2e/admin",
        "//admin",
        "/PUBLIC/a",
      ];
      const statuses = await Promise.all(tricks.map(async (path) => (await client.request({ url: at(path) })).status));
      expect(statuses.filter((status) => status === 200)).toEqual([]);
      expect((await client.request({ url: at("/public/a"), method: "POST" })).status).toBe(403);
    }));

  test("raw TCP and server-first TCP go across under a TCPRoute, and are closed without one", () =>
    withScene("e2e-tcp", ["east", "west"], async (scene) => {
      const { namespace, image } = scene;
      await scene.apply("west", [
        ...workload({ namespace, name: "echo", image, tcp: "echo" }),
        ...workload({ namespace, name: "banner", image, tcp: "banner" }),
        ...workload({ namespace, name: "closed", image, tcp: "echo" }),
        ...["echo", "banner", "closed"].map((name) => serviceExport(namespace, name)),
        tcpRoute(namespace, "raw", [TCP_PORT]),
        ...["echo", "banner"].map((name) =>
          trafficTarget({
            ...{ namespace, name, to: name, from: ["client"], sourceClusters: "east" },
            rule: { kind: "TCPRoute", name: "raw" },
          }),
        ),
      ]);
      await deployClient(scene);
      await scene.ready("west");
      const client = await scene.caller("east", "client");
      const host = (name: string) => `${name}.${namespace}.svc.clusterset.local`;
      // each import gets its name and its address in its own time
      const answered = (name: string, text?: string) =>
        until(`bytes from ${name}`, 45_000, async () => {
          const answer = await client.tcp({
            host: host(name),
            port: TCP_PORT,
            ...(text === undefined ? {} : { text }),
            bytes: 4,
          });
          return answer.end === "received" && answer;
        });
      expect((await answered("echo", "ping\n")).received).toContain("ping");
      await answered("banner");
      const closed = await client.tcp({ host: host("closed"), port: TCP_PORT, text: "ping\n", bytes: 4 });
      expect(closed).toMatchObject({ received: "", end: expect.stringMatching(/^(closed|ECONNRESET)$/) as string });
    }));
});

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

describe.concurrent("SMI", () => {
  test("policy that is written once is in force in the members that it names, follows its author and is taken away", () =>
    withScene("e2e-replicate", ["east", "west"], async (scene) => {
      const { namespace, image } = scene;
      await scene.apply("west", [
        ...workload({ namespace, name: "server", image }),
        serviceExport(namespace, "server"),
      ]);
      await deployClient(scene);
      const rule = { kind: "HTTPRouteGroup", name: "server" } as const;
      const grant = { namespace, name: "server", to: "server", from: ["client"], sourceClusters: "east", rule };
      const paths = (pathRegex: string) =>
        [httpRouteGroup(namespace, "server", [{ name: "all", pathRegex }]), trafficTarget(grant)].map((manifest) =>
          replicated(manifest, "west"),
        );
      await scene.apply("east", paths("/one.*"));
      await scene.ready("west");
      const client = await scene.caller("east", "client");
      const at = (path: string) => importUrl("server", namespace, path);
      await untilStatus(client, at("/one"), 200);
      expect((await client.request({ url: at("/two") })).status).toBe(403);
      await scene.apply("east", paths("/two.*"));
      await untilStatus(client, at("/two"), 200);
      await untilStatus(client, at("/one"), 403);
      await scene.remove("east", "traffictarget/server");
      await untilStatus(client, at("/two"), 403);
    }));

  test("manifests of the first versions mean what they say: specs without a spec, and a destination's port", () =>
    withScene("e2e-versions", ["east"], async (scene) => {
      const { namespace, image } = scene;
      const account = (name: string) => ({ kind: "ServiceAccount", name, namespace });
      const target = (port: number) => ({
        apiVersion: "access.smi-spec.io/v1alpha1",
        kind: "TrafficTarget",
        metadata: { namespace, name: "server" },
        destination: { ...account("server"), port },
        sources: [account("client")],
        specs: [{ kind: "HTTPRouteGroup", name: "server", matches: ["read"] }],
      });
      await scene.apply("east", [
        ...workload({ namespace, name: "server", image }),
        ...workload({ namespace, name: "client", image }),
        {
          apiVersion: "specs.smi-spec.io/v1alpha1",
          kind: "HTTPRouteGroup",
          metadata: { namespace, name: "server" },
          matches: [{ name: "read", pathRegex: "/read.*", methods: ["GET"] }],
        },
        target(HTTP_PORT),
      ]);
      await scene.ready("east");
      const client = await scene.caller("east", "client");
      const at = (path: string) => `http://server.${namespace}:${HTTP_PORT}${path}`;
      await untilStatus(client, at("/read"), 200);
      expect((await client.request({ url: at("/write") })).status).toBe(403);
      await scene.apply("east", [target(HTTP_PORT + 1)]);
      await untilStatus(client, at("/read"), 403);
    }));
});

describe.concurrent("inside a member", () => {
  test("a call without any policy is answered 403, a granted one 200, and a pod outside the mesh 403", () =>
    withScene("e2e-inside", ["east"], async (scene) => {
      const { namespace, image } = scene;
      const outside = { "isthmus.dev/sidecar-injection": "disabled" };
      await scene.apply("east", [
        ...workload({ namespace, name: "server", image }),
        ...workload({ namespace, name: "client", image }),
        ...workload({ namespace, name: "stranger", image, annotations: outside }),
      ]);
      await scene.ready("east");
      const url = `http://server.${namespace}:8080/`;
      const client = await scene.caller("east", "client");
      await untilStatus(client, url, 403);
      const rule = { kind: "HTTPRouteGroup", name: "all" } as const;
      await scene.apply("east", [
        httpRouteGroup(namespace, "all", [{ name: "all" }]),
        trafficTarget({ namespace, name: "server", to: "server", from: ["client"], rule }),
      ]);
      await untilStatus(client, url, 200);
      const stranger = await scene.caller("east", "stranger");
      expect((await stranger.request({ url })).status).toBe(403);
    }));

  test("a TrafficSplit sends a service's requests to its versions by weight, and a new weight takes over at once", () =>
    withScene("e2e-split", ["east"], splitsAndTurnsOver));

  test("an invalid SMI object is complained about where its author looks, and grants nothing, while the others live", () =>
    withScene("e2e-invalid", ["east"], async (scene) => {
      const { namespace, image } = scene;
      const rule = { kind: "HTTPRouteGroup", name: "good" } as const;
      await scene.apply("east", [
        ...workload({ namespace, name: "server", image }),
        ...workload({ namespace, name: "client", image }),
        httpRouteGroup(namespace, "poison", [{ name: "bad", pathRegex: "(?=never)/.*" }]),
        httpRouteGroup(namespace, "good", [{ name: "good", pathRegex: "/good" }]),
        trafficTarget({ namespace, name: "bad", to: "server", from: ["client"], rule: { ...rule, name: "poison" } }),
        trafficTarget({ namespace, name: "good", to: "server", from: ["client"], rule }),
      ]);
      await scene.ready("east");
      const client = await scene.caller("east", "client");
      await untilStatus(client, `http://server.${namespace}:8080/good`, 200);
      expect((await client.request({ url: `http://server.${namespace}:8080/other` })).status).toBe(403);
      const complaint = await until("a complaint about the invalid object", 20_000, async () => {
        const text = await fleet.member("east").complaints(namespace, "HTTPRouteGroup", "poison");
        return text !== "" && text;
      });
      expect(complaint).toMatch(/pathRegex/);
    }));

  test.runIf(onClusters)("pods that are created while both agents restart get their sidecars", () =>
    withScene("e2e-restart", ["north"], async (scene) => {
      const { namespace, image } = scene;
      const north = asClusters(fleet).up.fleet.cluster("north");
      await north.kubectl(["rollout", "restart", "deploy/isthmus-agent", "-n", "isthmus-system"]);
      await scene.apply("north", workload({ namespace, name: "web", image, replicas: 3 }));
      await scene.ready("north");
      await fleet.member("north").agentsBack();
      const template = "jsonpath={.items[*].metadata.labels.isthmus\\.dev/injected}";
      const injected = await north.kubectl(["get", "pods", "-n", namespace, "-l", "app=web", "-o", template]);
      expect(injected.trim().split(" ")).toEqual(["true", "true", "true"]);
    }),
  );
});

// by itself, after the rows that start pods side by side: what is measured is the product, not the neighbours
describe("on a calm fleet", () => {
  test("a connection that is already open obeys a policy that is taken away, and one that is given", () =>
    withScene("e2e-change", ["east", "west"], async (scene) => {
      await deployServer(scene, ["west"], [{ name: "all" }]);
      await deployClient(scene);
      const client = await scene.caller("east", "client");
      const url = importUrl("server", scene.namespace);
      await untilStatus(client, url, 200);
      const ask = () => client.request({ url, connection: "kept" });
      expect((await ask()).status).toBe(200);
      await scene.remove("west", "traffictarget/server");
      const cutMs = await timed(() =>
        until("403 on the open connection", 30_000, async () => (await ask()).status === 403),
      );
      await scene.apply("west", [
        trafficTarget({
          ...{ namespace: scene.namespace, name: "server", to: "server", from: ["client"], sourceClusters: "*" },
          rule: { kind: "HTTPRouteGroup", name: "server" },
        }),
      ]);
      const givenMs = await timed(() => until("200 again", 30_000, async () => (await ask()).status === 200));
      process.stdout.write(
        `policy change on the wire: taken away ${cutMs.toFixed(0)} ms, given ${givenMs.toFixed(0)} ms\n`,
      );
      expect(Math.max(cutMs, givenMs)).toBeLessThan(1_000 * BUSY);
    }));
});
