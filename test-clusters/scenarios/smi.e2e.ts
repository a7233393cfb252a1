// The Service Mesh Interface, row by row: access, splits, modes and protocols, each as a sentence that a user would accept, on sites and on
// real pods alike. Areas run side by side, each in a namespace of its own; the area of pods needs a kubelet and runs on clusters only.
import { afterAll, beforeAll, describe, test } from "vitest";
import type { Scene } from "../stage/fleet-under-test.ts";
import { openRunnersFleet, runnersFleetKind, type RunnersFleet } from "../stage/runners-fleet.ts";
import type { Caller } from "../traffic/caller.ts";
import { accessArea } from "./smi/access.ts";
import { egressArea } from "./smi/egress.ts";
import { modesArea } from "./smi/modes.ts";
import { podsArea } from "./smi/pods.ts";
import { protocolsArea } from "./smi/protocols.ts";
import type { Area } from "./smi/row.ts";
import { splitArea } from "./smi/split.ts";

const onClusters = runnersFleetKind() === "clusters";
let fleet: RunnersFleet;
beforeAll(async () => {
  fleet = await openRunnersFleet();
});

const areas: readonly Area[] = [
  accessArea,
  splitArea,
  ...(onClusters ? [podsArea] : []),
  modesArea,
  protocolsArea,
  egressArea,
];

describe.concurrent.each(areas)("$name", ({ namespace, members, deploy, rows }) => {
  let scene: Scene;
  const callers = new Map<string, Promise<Caller>>();
  const caller = (member: string, workload: string) => {
    const key = `${member}/${workload}`;
    const known = callers.get(key) ?? scene.caller(member, workload);
    callers.set(key, known);
    return known;
  };

  beforeAll(async () => {
    scene = await fleet.openScene(namespace, members);
    await deploy(scene);
  }, 180_000);

  afterAll(() => scene.close());

  // the rows of an area change the same policy
  const oneByOne = { concurrent: false, timeout: 120_000 };
  test.each(rows)("$name", oneByOne, ({ play }) => play({ fleet, scene, caller }));
});
