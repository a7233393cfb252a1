// What a fleet can lose while requests flow, and how it is put back. Two members serve what a third one calls; a fault takes one of them,
// or what all share, away. Played by the end-to-end rows and, over and over, by bench `failover`. Each fault leaves the fleet as it
// found it, or throws.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { asClusters, type RunnersFleet } from "./runners-fleet.ts";
import { importUrl, untilStatus } from "./asking.ts";
import type { FleetStage, Scene } from "./fleet-under-test.ts";
import { until } from "./until.ts";
import { httpRouteGroup, serviceExport, trafficTarget, workload } from "./workload.ts";
import type { Caller, LoadResult } from "../traffic/caller.ts";

const RPS = 50;
/**
 * As much weight as two agents that start. With a tenth of it (a request of 10m beside their 100m each) requests waited up
 * to 1.5 s for a turn on the cores of a busy node, and for nothing else: no proxy was sent or changed anything.
 */
const cpuRequest = "200m";

export interface FaultStage {
  readonly fleet: FleetStage;
  readonly scene: Scene;
  /** Requests at a steady rate; `strike` happens as soon as one beside them was answered. */
  readonly during: (seconds: number, strike: () => Promise<unknown>) => Promise<LoadResult>;
  /** Until both members answer. */
  readonly bothAnswer: () => Promise<void>;
  /** A caller in a sidecar that starts now. */
  readonly freshCaller: () => Promise<void>;
  readonly connectedMembers: () => Promise<number>;
  /** Names of the fleet's services. */
  readonly services: () => Promise<string>;
  readonly close: () => Promise<void>;
}

export const faultNames = ["member", "gateways", "hub", "redis", "agents", "api-server", "root-ca"] as const;

export interface Fault {
  readonly name: (typeof faultNames)[number];
  /** Goes on after "no idempotent request is lost when". */
  readonly about: string;
  readonly seconds: number;
  readonly strike: (stage: FaultStage) => Promise<unknown>;
  /** Throws what the fault has cost for good. */
  readonly mend: (stage: FaultStage) => Promise<unknown>;
}

async function deploy(scene: Scene): Promise<void> {
  const { namespace, image } = scene;
  const rule = { kind: "HTTPRouteGroup", name: "server" } as const;
  const server = [
    ...workload({ namespace, name: "server", image, cpuRequest }),
    serviceExport(namespace, "server"),
    httpRouteGroup(namespace, "server", [{ name: "all" }]),
    trafficTarget({ namespace, name: "server", to: "server", from: ["client"], sourceClusters: "east", rule }),
  ];
  await Promise.all(["west", "north"].map((member) => scene.apply(member, server)));
  await scene.apply("east", workload({ namespace, name: "client", image, cpuRequest }));
  await Promise.all(["east", "west", "north"].map((member) => scene.ready(member)));
}

export async function openFaultStage(fleet: FleetStage, namespace: string): Promise<FaultStage> {
  const scene = await fleet.openScene(namespace, ["east", "west", "north"]);
  await deploy(scene);
  const url = importUrl("server", namespace);
  let client: Caller = await scene.caller("east", "client");
  const isthmus = async (...words: readonly string[]) =>
    JSON.parse(await fleet.product.isthmus([...words, "-o", "json", "--data", fleet.hub.dataDir])) as unknown;
  const stage: FaultStage = {
    fleet,
    scene,
    during: async (seconds, strike) => {
      const load = client.load({ url, rps: RPS, seconds });
      await client.request({ url }); // the load is under way
      await strike();
      return load;
    },
    bothAnswer: async () => {
      await untilStatus(client, url, 200);
      const seen = new Set<string | undefined>();
      await until("answers from west and north", 60_000, async () => {
        seen.add((await client.request({ url })).headers?.["x-shop-cluster"]);
        return seen.has("west") && seen.has("north");
      });
    },
    freshCaller: async () => {
      await scene.restartPods("east", "client");
      await scene.ready("east");
      client = await scene.caller("east", "client");
    },
    connectedMembers: async () => {
      const { clusters } = (await isthmus("status")) as { readonly clusters: readonly { readonly state: string }[] };
      return clusters.filter(({ state }) => state === "connected").length;
    },
    services: async () => {
      const { services } = (await isthmus("services")) as { readonly services: readonly Record<string, string>[] };
      const names = services.map(({ namespace: of, name }) => `${of ?? ""}/${name ?? ""}`);
      return names.sort().join(" ");
    },
    close: () => scene.close(),
  };
  await stage.bothAnswer();
  return stage;
}

async function hubBack({ fleet, connectedMembers }: FaultStage): Promise<void> {
  await fleet.hub.start();
  await until("all members to be connected again", 60_000, async () => (await connectedMembers()) === 3);
}

/** The embedded Redis of this fleet's hub: its pid file is in the hub's data folder. */
function redisPid({ fleet }: FaultStage): number {
  return Number(readFileSync(join(fleet.hub.dataDir, "redis", "redis.pid"), "utf8"));
}

function memberFaults(): readonly Fault[] {
  return [
    {
      name: "member",
      about: "a whole member vanishes without a word and returns",
      seconds: 10,
      strike: ({ fleet }) => fleet.blackhole("east", "west"),
      mend: async ({ fleet, bothAnswer }) => {
        await fleet.heal("east", "west");
        await bothAnswer();
      },
    },
    {
      name: "gateways",
      about: "every gateway of a member is killed",
      seconds: 10,
      strike: ({ fleet }) => fleet.member("west").killGateways(),
      mend: ({ bothAnswer }) => bothAnswer(),
    },
  ];
}

function hubFaults(): readonly Fault[] {
  let before: { readonly services: string; readonly pid: number };
  return [
    {
      name: "hub",
      about: "the hub is killed, and it takes up where it was",
      seconds: 8,
      strike: ({ fleet }) => fleet.hub.kill(),
      mend: hubBack,
    },
    {
      name: "redis",
      about: "Redis is killed: the hub starts it again and no export is lost",
      seconds: 6,
      strike: async (stage) => {
        before = { services: await stage.services(), pid: redisPid(stage) };
        process.kill(before.pid, "SIGKILL");
      },
      mend: async (stage) => {
        await until("another Redis", 30_000, () => Promise.resolve(redisPid(stage) !== before.pid));
        const same = async () => (await stage.services().catch(() => "")) === before.services;
        await until("the same services as before", 30_000, same);
      },
    },
  ];
}

/** `importsKept` throws when the calling member no longer has what it imports. */
function agentsFault(importsKept: (stage: FaultStage) => Promise<void>): Fault {
  return {
    name: "agents",
    about: "every agent of the calling member is killed while the hub is away: identity and imports are kept",
    seconds: 8,
    strike: async ({ fleet }) => {
      await fleet.hub.kill();
      await fleet.member("east").killAgents();
    },
    mend: async (stage) => {
      await stage.fleet.member("east").agentsBack();
      await importsKept(stage);
      // a sidecar that starts now, from what the new agents kept
      await stage.freshCaller();
      await stage.bothAnswer();
      await hubBack(stage);
    },
  };
}

/** What this kind of fleet can lose, each fault after the one before it is mended. */
export function faultsOf(fleet: RunnersFleet): readonly Fault[] {
  if (fleet.kind === "sites") return [...memberFaults(), ...hubFaults(), agentsFault(() => Promise.resolve())];
  const { up } = asClusters(fleet);
  const imports = async ({ scene }: FaultStage) => {
    const asked = ["get", "serviceimports", "-n", scene.namespace, "-o", "name"];
    const names = await up.fleet.cluster("east").kubectl(asked);
    if (!names.includes("/server")) throw new Error(`the import is gone: ${names}`);
  };
  const apiServer = up.fleet.cluster("west").faults;
  return [
    ...memberFaults(),
    ...hubFaults(),
    agentsFault(imports),
    {
      name: "api-server",
      about: "the API server of a serving cluster hangs",
      seconds: 8,
      strike: () => apiServer.stopProgram("kube-apiserver"),
      mend: () => apiServer.continueProgram("kube-apiserver"),
    },
  ];
}
