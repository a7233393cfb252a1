// The TrafficTargets of the area of access: from `client` to `server`, each with routes under its own name.
import type { Manifest, Scene } from "../../stage/fleet-under-test.ts";
import { httpRouteGroup, tcpRoute, trafficTarget, type HttpMatch } from "../../stage/workload.ts";
import type { AreaStage } from "./row.ts";

interface Target {
  readonly name: string;
  readonly http?: readonly HttpMatch[];
  /** Names of matches; none: all of the group. */
  readonly matches?: readonly string[];
  readonly tcp?: readonly number[];
  readonly sourceClusters?: string;
}

/** One TrafficTarget from client to server with the routes that it names, under its own name. */
function target(namespace: string, { name, http, matches, tcp, sourceClusters }: Target): readonly Manifest[] {
  const group = { kind: "HTTPRouteGroup", name, ...(matches && { matches }) } as const;
  const ports = { kind: "TCPRoute", name } as const;
  const rules = [...(http === undefined ? [] : [group]), ...(tcp === undefined ? [] : [ports])];
  const [rule = group] = rules;
  const base = trafficTarget({
    namespace,
    name,
    to: "server",
    from: ["client"],
    rule,
    ...(sourceClusters && { sourceClusters }),
  });
  return [
    ...(http === undefined ? [] : [httpRouteGroup(namespace, name, http)]),
    ...(tcp === undefined ? [] : [tcpRoute(namespace, name, tcp)]),
    { ...base, spec: { ...(base["spec"] as object), rules } },
  ];
}

/** These targets and no other of this area. */
export async function only({ scene }: AreaStage, ...targets: readonly Target[]): Promise<void> {
  const held = inForce.get(scene) ?? [];
  await scene.apply(
    "east",
    targets.flatMap((each) => target(scene.namespace, each)),
  );
  const gone = held.filter((name) => !targets.some((one) => one.name === name));
  await Promise.all(gone.map((name) => scene.remove("east", `traffictarget/${name}`)));
  inForce.set(
    scene,
    targets.map(({ name }) => name),
  );
}

const inForce = new WeakMap<Scene, readonly string[]>();
