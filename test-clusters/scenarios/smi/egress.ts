// What is no service of the mesh: called as if there were no mesh, or answered 403 from one default. Switched while calls go on.
import { expect } from "vitest";
import type { Scene } from "../../stage/fleet-under-test.ts";
import { until } from "../../stage/until.ts";
import { GRPC_PORT, HTTP_PORT, namespaceSaying, tcpRoute, trafficTarget, workload } from "../../stage/workload.ts";
import { untilAnsweredBy, type Area, type AreaStage } from "./row.ts";

const namespace = "smi-egress";
const service = `http://server.${namespace}:${HTTP_PORT}/`;
/** TEST-NET-2 (RFC 5737): nobody's address. */
const nobody = "198.51.100.7";

async function deploy(scene: Scene): Promise<void> {
  const { image } = scene;
  const rule = { kind: "TCPRoute", name: "all" } as const;
  await scene.apply("west", [
    ...workload({ namespace, name: "server", image, grpc: true }),
    ...workload({ namespace, name: "client", image }),
    tcpRoute(namespace, "all", [HTTP_PORT, GRPC_PORT]),
    trafficTarget({ namespace, name: "server", to: "server", from: ["client"], rule }),
  ]);
  await scene.ready("west");
}

async function setEgress({ scene }: AreaStage, egress: boolean): Promise<void> {
  await scene.apply("west", [namespaceSaying(namespace, { egress })]);
}

export const egressArea: Area = {
  name: "egress",
  namespace,
  members: ["west"],
  deploy,
  rows: [
    {
      name: "that is switched off answers 403 at every address of no service, also on a port of others and in HTTP/2, and leaves services alone",
      play: async (stage) => {
        const client = await stage.caller("west", "client");
        const { readyUrl } = stage.fleet.hub;
        const outside = async () => (await client.request({ url: readyUrl })).status;
        await untilAnsweredBy(client, service, "server");
        await until("the outside to answer", 20_000, async () => (await outside()) === 200);
        await setEgress(stage, false);
        await until("the outside to be refused", 20_000, async () => (await outside()) === 403);
        for (const port of [HTTP_PORT, GRPC_PORT, 4711]) {
          const answer = await client.request({ url: `http://${nobody}:${port}/` });
          expect([port, answer.status, answer.body]).toEqual([port, 403, expect.stringContaining("isthmus: no route")]);
        }
        // a program that knows no proxy and is not redirected goes past a site's sidecar
        if (stage.fleet.kind === "clusters") {
          const { grpcStatus } = await client.rpc({ host: nobody, port: GRPC_PORT, path: "/shop.Echo/Say" });
          expect(grpcStatus).toBe(7);
        }
        await untilAnsweredBy(client, service, "server");
        await setEgress(stage, true);
        await until("the outside to answer again", 20_000, async () => (await outside()) === 200);
      },
    },
  ],
};
