// Deny by default, and permissive mode: of one namespace and of a whole member, switched while calls go on.
import { expect } from "vitest";
import type { Scene } from "../../stage/fleet-under-test.ts";
import { until } from "../../stage/until.ts";
import {
  HTTP_PORT,
  httpRouteGroup,
  meshConfig,
  namespaceSaying,
  permissiveNamespace,
  TCP_PORT,
  tcpRoute,
  trafficTarget,
  workload,
} from "../../stage/workload.ts";
import type { Caller } from "../../traffic/caller.ts";
import { untilAnsweredBy, type Area } from "./row.ts";

const namespace = "smi-modes";
const url = `http://server.${namespace}:${HTTP_PORT}/`;
const whole = "isthmus-system";

/** A load is ended by a word; this is longer than any row. */
const ENDLESS_S = 3_600;

async function deploy(scene: Scene): Promise<void> {
  const { image } = scene;
  const rule = { kind: "HTTPRouteGroup", name: "all" } as const;
  const raw = { kind: "TCPRoute", name: "raw" } as const;
  await scene.apply("west", [
    ...workload({ namespace, name: "server", image, tcp: "echo" }),
    ...["allowed", "stranger"].flatMap((name) => workload({ namespace, name, image })),
    httpRouteGroup(namespace, "all", [{ name: "all" }]),
    tcpRoute(namespace, "raw", [TCP_PORT]),
    trafficTarget({ namespace, name: "http", to: "server", from: ["allowed"], rule }),
    trafficTarget({ namespace, name: "tcp", to: "server", from: ["allowed"], rule: raw }),
  ]);
  await scene.ready("west");
}

async function tcpAnswers(caller: Caller): Promise<boolean> {
  const host = `server.${namespace}`;
  return (await caller.tcp({ host, port: TCP_PORT, text: "ping\n", bytes: 4, timeoutMs: 2_000 })).end === "received";
}

export const modesArea: Area = {
  name: "permissive mode",
  namespace,
  members: ["west"],
  deploy,
  rows: [
    {
      name: "of a namespace lets a stranger in, and is taken away again, while an allowed caller loses no request",
      play: async ({ scene, caller }) => {
        const [allowed, stranger] = [await caller("west", "allowed"), await caller("west", "stranger")];
        await untilAnsweredBy(allowed, url, "server");
        await untilAnsweredBy(stranger, url, "403");
        expect(await tcpAnswers(stranger)).toBe(false);
        const load = allowed.load({ url, rps: 100, seconds: ENDLESS_S });
        for (let round = 0; round < 5; round += 1) {
          await scene.apply("west", [permissiveNamespace(namespace, true)]);
          await untilAnsweredBy(stranger, url, "server");
          await until("raw TCP of a stranger", 20_000, () => tcpAnswers(stranger));
          await allowed.moreAnswers(10);
          await scene.apply("west", [permissiveNamespace(namespace, false)]);
          await untilAnsweredBy(stranger, url, "403");
          await until("no raw TCP of a stranger", 20_000, async () => !(await tcpAnswers(stranger)));
          await allowed.moreAnswers(10);
        }
        await allowed.stop();
        const { requests, failed, failures } = await load;
        process.stdout.write(
          `permissive mode switched ten times under load: ${failed} of ${requests} requests failed\n`,
        );
        expect(failures).toEqual([]);
        expect(requests).toBeGreaterThanOrEqual(100); // ten in each step
      },
    },
    {
      name: "of the whole member is said by the agent's namespace, and a namespace may say otherwise for itself",
      play: async ({ scene, caller }) => {
        const stranger = await caller("west", "stranger");
        await scene.apply("west", [{ ...permissiveNamespace(whole, true) }]);
        // it says no for itself
        await untilAnsweredBy(stranger, url, "403");
        const { metadata } = permissiveNamespace(namespace, false) as { readonly metadata: object };
        const silent = { apiVersion: "v1", kind: "Namespace", metadata: { ...metadata, annotations: {} } };
        await scene.apply("west", [silent]);
        await untilAnsweredBy(stranger, url, "server");
        await scene.apply("west", [permissiveNamespace(whole, false)]);
        await untilAnsweredBy(stranger, url, "403");
      },
    },
    {
      name: "is what OSM's MeshConfig says of it, where no Namespace says otherwise",
      play: async ({ scene, caller }) => {
        const stranger = await caller("west", "stranger");
        await scene.apply("west", [namespaceSaying(namespace, {}), namespaceSaying(whole, {})]);
        await untilAnsweredBy(stranger, url, "403");
        try {
          await scene.apply("west", [meshConfig(whole, { enablePermissiveTrafficPolicyMode: true })]);
          await untilAnsweredBy(stranger, url, "server");
          await scene.apply("west", [permissiveNamespace(namespace, false)]);
          await untilAnsweredBy(stranger, url, "403");
          await scene.apply("west", [namespaceSaying(namespace, {})]);
          await untilAnsweredBy(stranger, url, "server");
        } finally {
          await scene.remove("west", "meshconfig/osm-mesh-config", whole);
        }
        await untilAnsweredBy(stranger, url, "403");
      },
    },
    {
      name: "and egress are the agent's namespace's to say: OSM's MeshConfig in another one is not heard, and its author is told",
      play: async ({ scene, caller, fleet }) => {
        const client = await caller("west", "allowed");
        const outside = async () => (await client.request({ url: fleet.hub.readyUrl })).status;
        const off = { enableEgress: false, enablePermissiveTrafficPolicyMode: true };
        await scene.apply("west", [namespaceSaying(namespace, {}), meshConfig(namespace, off)]);
        await until("the author of one in another namespace to be told", 20_000, async () =>
          (await fleet.member("west").complaints(namespace, "MeshConfig", "osm-mesh-config")).includes("none counts"),
        );
        expect(await outside()).toBe(200);
        await untilAnsweredBy(await caller("west", "stranger"), url, "403");
        try {
          await scene.apply("west", [meshConfig(whole, { enableEgress: false })]);
          await until("the outside to be refused", 20_000, async () => (await outside()) === 403);
          await scene.apply("west", [namespaceSaying(namespace, { egress: true })]);
          await until("the outside to answer", 20_000, async () => (await outside()) === 200);
        } finally {
          await scene.remove("west", "meshconfig/osm-mesh-config", whole);
        }
        await scene.remove("west", "meshconfig/osm-mesh-config");
        await scene.apply("west", [namespaceSaying(namespace, {})]);
        expect(await outside()).toBe(200);
      },
    },
  ],
};
