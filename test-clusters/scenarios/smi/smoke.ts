// The least that a TrafficSplit must do, for the table of every capability; all of it is in split.ts.
import { untilStatus } from "../../stage/asking.ts";
import type { Scene } from "../../stage/fleet-under-test.ts";
import { httpRouteGroup, service, trafficSplit, trafficTarget, workload } from "../../stage/workload.ts";
import { untilAnsweredBy } from "./row.ts";

export async function splitsAndTurnsOver(scene: Scene): Promise<void> {
  const { namespace, image } = scene;
  const rule = { kind: "HTTPRouteGroup", name: "all" } as const;
  const split = (v1: number, v2: number) =>
    trafficSplit({ namespace, name: "canary", service: "server", backends: { v1, v2 } });
  await scene.apply("east", [
    service(namespace, "server"),
    httpRouteGroup(namespace, "all", [{ name: "all" }]),
    split(1, 0),
    ...workload({ namespace, name: "client", image }),
    ...["v1", "v2"].flatMap((name) => [
      ...workload({ namespace, name, image }),
      trafficTarget({ namespace, name, to: name, from: ["client"], rule }),
    ]),
  ]);
  await scene.ready("east");
  const client = await scene.caller("east", "client");
  const url = `http://server.${namespace}:8080/`;
  await untilStatus(client, url, 200);
  await untilAnsweredBy(client, url, "v1");
  await scene.apply("east", [split(0, 1)]);
  await untilAnsweredBy(client, url, "v2");
}
