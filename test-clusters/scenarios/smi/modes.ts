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
import { closed, rawTcpEnd, refused, underLoad, untilAnsweredBy, untilRawTcp, type Area } from "./row.ts";

const namespace = "smi-modes";
const host = `server.${namespace}`;
const url = `http://${host}:${HTTP_PORT}/`;
const whole = "isthmus-system";

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
        expect(await rawTcpEnd(stranger, host)).toMatch(refused);
        const what = "permissive mode of a namespace switched ten times";
        await underLoad(allowed, { url, what }, async (usedToo) => {
          for (let round = 0; round < 5; round += 1) {
            await scene.apply("west", [permissiveNamespace(namespace, true)]);
            await untilAnsweredBy(stranger, url, "server");
            await untilRawTcp(stranger, host, "carried");
            await usedToo();
            await scene.apply("west", [permissiveNamespace(namespace, false)]);
            await untilAnsweredBy(stranger, url, "403");
            await untilRawTcp(stranger, host, "refused");
            await usedToo();
          }
        });
      },
    },
    {
      name: "that is taken away closes what a stranger holds open on raw TCP, while an allowed caller loses no request",
      play: async ({ scene, caller }) => {
        const [allowed, stranger] = [await caller("west", "allowed"), await caller("west", "stranger")];
        await untilAnsweredBy(allowed, url, "server");
        const what = "open raw TCP of a stranger closed";
        await underLoad(allowed, { url, what }, async (usedToo) => {
          await scene.apply("west", [permissiveNamespace(namespace, true)]);
          await untilRawTcp(stranger, host, "carried");
          const held = { name: "raw", kind: "tcp", host, port: TCP_PORT } as const;
          expect((await stranger.hold(held)).end).toBeUndefined();
          await scene.apply("west", [permissiveNamespace(namespace, false)]);
          const { end } = await until("the stranger's open connection to be closed", 60_000, async () => {
            const state = await stranger.held("raw");
            return state.end !== undefined && state;
          });
          expect(end).toMatch(closed);
          await usedToo();
        });
      },
    },
    {
      name: "of the whole member is said by the agent's namespace, and a namespace may say otherwise for itself",
      play: async ({ scene, caller }) => {
        const [allowed, stranger] = [await caller("west", "allowed"), await caller("west", "stranger")];
        const what = "permissive mode of a member switched twice";
        await untilAnsweredBy(allowed, url, "server");
        await underLoad(allowed, { url, what }, async (usedToo) => {
          await scene.apply("west", [permissiveNamespace(whole, true)]);
          // it says no for itself
          await untilAnsweredBy(stranger, url, "403");
          await usedToo();
          await scene.apply("west", [namespaceSaying(namespace, {})]);
          await untilAnsweredBy(stranger, url, "server");
          await usedToo();
          await scene.apply("west", [permissiveNamespace(whole, false)]);
          await untilAnsweredBy(stranger, url, "403");
          await usedToo();
        });
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
