// TrafficSplit: two versions of a service here, a third one that only another member has, and roots of every kind.
import { expect } from "vitest";
import type { Scene } from "../../stage/fleet-under-test.ts";
import { until } from "../../stage/until.ts";
import {
  GRPC_PORT,
  HTTP_PORT,
  httpRouteGroup,
  permissiveNamespace,
  service,
  serviceExport,
  TCP_PORT,
  tcpRoute,
  trafficSplit,
  trafficTarget,
  workload,
} from "../../stage/workload.ts";
import type { Caller } from "../../traffic/caller.ts";
import { answersOf, rpcAnswersOf, underLoad, untilAnsweredBy, type Area, type AreaStage } from "./row.ts";

const namespace = "smi-split";
const url = (host: string) => `http://${host}:${HTTP_PORT}/`;
const root = url(`cart.${namespace}`);

function grant(to: string, sourceClusters?: string) {
  const from = ["client"];
  const rule = { kind: "TCPRoute", name: "all" } as const;
  return trafficTarget({ namespace, name: to, to, from, rule, ...(sourceClusters && { sourceClusters }) });
}

function version(scene: Scene, name: string) {
  return workload({ namespace, name, image: scene.image, tcp: "banner", grpc: true, labels: { part: "cart" } });
}

async function deploy(scene: Scene): Promise<void> {
  await Promise.all([
    scene.apply("west", [
      ...version(scene, "v3"),
      serviceExport(namespace, "v3"),
      tcpRoute(namespace, "all", [HTTP_PORT, TCP_PORT]),
      grant("v3", "east"),
    ]),
    scene.apply("east", [
      ...version(scene, "v1"),
      ...version(scene, "v2"),
      ...workload({ namespace, name: "client", image: scene.image }),
      service(namespace, "cart"),
      service(namespace, "spanning", { part: "cart" }),
      tcpRoute(namespace, "all", [HTTP_PORT, TCP_PORT, GRPC_PORT]),
      grant("v1"),
      grant("v2"),
    ]),
  ]);
  await Promise.all(["east", "west"].map((member) => scene.ready(member)));
}

type Weights = Readonly<Record<string, number>>;

/** The split of `cart`, named like it. */
async function split({ scene }: AreaStage, backends: Weights, matches: readonly string[] = []): Promise<void> {
  await scene.apply("east", [trafficSplit({ namespace, name: "cart", service: "cart", backends, matches })]);
}

function client(stage: AreaStage): Promise<Caller> {
  return stage.caller("east", "client");
}

/** Five standard deviations of that many draws. */
function isShare(count: number, total: number, share: number): boolean {
  return Math.abs(count / total - share) < 5 * Math.sqrt((share * (1 - share)) / total);
}

async function greeting(caller: Caller): Promise<string> {
  const { received } = await caller.tcp({ host: `cart.${namespace}`, port: TCP_PORT, bytes: 3 });
  return received.trim();
}

export const splitArea: Area = {
  name: "a TrafficSplit",
  namespace,
  members: ["east", "west"],
  deploy,
  rows: [
    {
      name: "sends everything to a weight of 1 and nothing to a weight of 0, whatever the root selects",
      play: async (stage) => {
        const caller = await client(stage);
        await split(stage, { v1: 1, v2: 0 });
        await untilAnsweredBy(caller, root, "v1");
        await split(stage, { v1: 0, v2: 1 });
        await untilAnsweredBy(caller, root, "v2");
      },
    },
    {
      name: "takes weights as a ratio: 1000 and 500 are two thirds and one third",
      play: async (stage) => {
        const caller = await client(stage);
        await split(stage, { v1: 1000, v2: 500 });
        await untilAnsweredBy(caller, root, "v1", "v2");
        const { v1 = 0, v2 = 0 } = await answersOf(caller, root, 600);
        expect(v1 + v2).toBe(600);
        expect(isShare(v1, 600, 2 / 3)).toBe(true);
      },
    },
    {
      name: "loses no request while its weights change under load",
      play: async (stage) => {
        const caller = await client(stage);
        await split(stage, { v1: 1, v2: 0 });
        await untilAnsweredBy(caller, root, "v1");
        const steps = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((v2) => ({ v1: 10 - v2, v2 }));
        await underLoad(caller, { url: root, what: "weights changed ten times" }, async (usedToo) => {
          for (const backends of steps) {
            await split(stage, backends);
            await untilAnsweredBy(caller, root, "v1", "v2");
            await usedToo();
          }
          await split(stage, { v1: 0, v2: 1 });
          await untilAnsweredBy(caller, root, "v2");
          await usedToo();
        });
      },
    },
    {
      name: "divides raw TCP too, and leaves a connection that is open where it is",
      play: async (stage) => {
        const caller = await client(stage);
        await split(stage, { v1: 1, v2: 0 });
        await until("TCP of v1", 30_000, async () => (await greeting(caller)) === "v1");
        const kept = { name: "kept", kind: "tcp", host: `cart.${namespace}`, port: TCP_PORT } as const;
        expect((await caller.hold(kept)).end).toBeUndefined();
        await split(stage, { v1: 0, v2: 1 });
        await until("TCP of v2", 30_000, async () => (await greeting(caller)) === "v2");
        const heardAtMs = Date.now();
        const state = await until("the kept connection to be heard", 10_000, async () => {
          const now = await caller.held("kept");
          return (now.end !== undefined || now.lastHeardAtMs > heardAtMs) && now;
        });
        expect(state.end).toBeUndefined();
        await caller.letGo("kept");
      },
    },
    {
      name: "divides gRPC call by call, also on one connection",
      play: async (stage) => {
        const caller = await client(stage);
        const calls = (count: number) => rpcAnswersOf(caller, `cart.${namespace}`, count);
        await split(stage, { v1: 3, v2: 1 });
        const isAnsweredBy = async (...services: readonly string[]) =>
          Object.keys(await calls(16))
            .sort()
            .join(" ") === services.join(" ");
        await until("calls to both", 30_000, () => isAnsweredBy("v1", "v2"));
        const { v1 = 0, v2 = 0 } = await calls(400);
        expect(v1 + v2).toBe(400);
        expect(isShare(v1, 400, 3 / 4)).toBe(true);
        await split(stage, { v1: 0, v2: 1 });
        await until("calls to v2 alone", 30_000, () => isAnsweredBy("v2"));
      },
    },
    {
      name: "is obeyed by a root whose selector spans both versions",
      play: async (stage) => {
        const caller = await client(stage);
        const spanning = url(`spanning.${namespace}.svc.cluster.local`);
        await untilAnsweredBy(caller, spanning, "v1", "v2");
        const name = "spanning";
        await stage.scene.apply("east", [trafficSplit({ namespace, name, service: name, backends: { v2: 1 } })]);
        await untilAnsweredBy(caller, spanning, "v2");
        await stage.scene.remove("east", "trafficsplit/spanning");
        await untilAnsweredBy(caller, spanning, "v1", "v2");
      },
    },
    {
      name: "is obeyed under every name of its root, with a dot at its end too",
      play: async (stage) => {
        const caller = await client(stage);
        await split(stage, { v2: 1 });
        const full = `cart.${namespace}.svc.cluster.local`;
        const short = ["cart", `cart.${namespace}`];
        // to a resolver a dot ends a full name; a proxy that is asked by name takes it off any
        const dotted = stage.fleet.kind === "sites" ? [...short, full] : [full];
        for (const host of [...short, full, ...dotted.map((name) => `${name}.`)])
          await untilAnsweredBy(caller, url(host), "v2");
      },
    },
    {
      name: "with matches sends those whom any of its groups matches, and leaves all others with the root",
      play: async (stage) => {
        const caller = await client(stage);
        const spanning = url(`spanning.${namespace}`);
        await stage.scene.apply("east", [
          httpRouteGroup(namespace, "firefox", [{ name: "users", headers: { "user-agent": ".*Firefox.*" } }]),
          httpRouteGroup(namespace, "testers", [{ name: "cookie", headers: { cookie: ".*tester=yes.*", "x-v": "2" } }]),
          trafficSplit({
            ...{ namespace, name: "ab", service: "spanning", backends: { v1: 0, v2: 100 } },
            matches: ["firefox", "testers"],
          }),
        ]);
        const firefox = { "user-agent": "Mozilla/5.0 Firefox/140.0" };
        await until("Firefox to be answered by v2 alone", 30_000, async () => {
          const answers = await answersOf(caller, spanning, 16, firefox);
          return Object.keys(answers).join() === "v2";
        });
        expect(await answersOf(caller, spanning, 16, { cookie: "a=b; tester=yes", "x-v": "2" })).toEqual({ v2: 16 });
        const others = await answersOf(caller, spanning, 40, { cookie: "tester=yes" });
        expect(Object.keys(others).sort()).toEqual(["v1", "v2"]);
        await stage.scene.remove("east", "trafficsplit/ab");
      },
    },
    {
      name: "leaves the share of a backend that does not exist yet to the others, says so, and gives it when it comes",
      play: async (stage) => {
        const caller = await client(stage);
        await split(stage, { v1: 1, later: 9 });
        await untilAnsweredBy(caller, root, "v1");
        await until("a word about the missing backend", 20_000, async () =>
          /ISTHMUS_SPLIT_BACKEND|SplitBackend/.test(
            await stage.fleet.member("east").complaints(namespace, "TrafficSplit", "cart"),
          ),
        );
        await stage.scene.apply("east", [service(namespace, "later", { app: "v2" })]);
        await untilAnsweredBy(caller, root, "v1", "v2");
        await split(stage, { v1: 1 });
        await stage.scene.remove("east", "service/later");
      },
    },
    {
      name: "that comes second for a service, or leads back to its own root, is refused by name and changes nothing",
      play: async (stage) => {
        const caller = await client(stage);
        await split(stage, { v2: 1 });
        await untilAnsweredBy(caller, root, "v2");
        await stage.scene.apply("east", [
          trafficSplit({ namespace, name: "late", service: "cart", backends: { v1: 1 } }),
          trafficSplit({ namespace, name: "own", service: "v2", backends: { v2: 1 } }),
        ]);
        for (const [name, code] of [
          ["late", /ISTHMUS_SPLIT_CONFLICT|SplitConflict/],
          ["own", /ISTHMUS_SPLIT_CYCLE|SplitCycle/],
        ] as const)
          await until(`a word about ${name}`, 20_000, async () =>
            code.test(await stage.fleet.member("east").complaints(namespace, "TrafficSplit", name)),
          );
        expect(await answersOf(caller, root, 20)).toEqual({ v2: 20 });
        await Promise.all(["late", "own"].map((name) => stage.scene.remove("east", `trafficsplit/${name}`)));
      },
    },
    {
      name: "grants nothing: the share of a version that the caller may not call is answered 403",
      play: async (stage) => {
        const caller = await client(stage);
        await split(stage, { v1: 1, v2: 1 });
        await untilAnsweredBy(caller, root, "v1", "v2");
        await stage.scene.remove("east", "traffictarget/v2");
        await untilAnsweredBy(caller, root, "v1", "403");
        await stage.scene.apply("east", [grant("v2")]);
        await untilAnsweredBy(caller, root, "v1", "v2");
      },
    },
    {
      name: "sends a canary's share to a version that only another member has, and turns all of it over: blue and green",
      play: async (stage) => {
        const caller = await client(stage);
        await split(stage, { v1: 1, v3: 1 });
        await untilAnsweredBy(caller, root, "v1", "v3");
        await split(stage, { v1: 0, v3: 1 });
        await untilAnsweredBy(caller, root, "v3");
        const imported = url(`v3.${namespace}.svc.clusterset.local`);
        const name = "imported";
        const service = `v3.${namespace}.svc.clusterset.local`;
        await stage.scene.apply("east", [trafficSplit({ namespace, name, service, backends: { v1: 1 } })]);
        await untilAnsweredBy(caller, imported, "v1");
        await stage.scene.remove("east", "trafficsplit/imported");
        await untilAnsweredBy(caller, imported, "v3");
      },
    },
    {
      name: "is obeyed in permissive mode",
      play: async (stage) => {
        const caller = await client(stage);
        await split(stage, { v2: 1 });
        await stage.scene.apply("east", [permissiveNamespace(namespace, true)]);
        await stage.scene.remove("east", "traffictarget/v2");
        // with a grant taken away only permissive mode lets v2 answer
        await untilAnsweredBy(caller, root, "v2");
        await untilAnsweredBy(caller, url(`v1.${namespace}`), "v1");
        await stage.scene.apply("east", [grant("v2"), permissiveNamespace(namespace, false)]);
        await untilAnsweredBy(caller, root, "v2");
      },
    },
  ],
};
