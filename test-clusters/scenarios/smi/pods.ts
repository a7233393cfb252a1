// What only pods can show: StatefulSets by the names of their pods, health probes that the kubelet still gets answered, pods whose first
// act is a call, and Jobs that end. For clusters.
import { expect } from "vitest";
import type { Manifest, Scene } from "../../stage/fleet-under-test.ts";
import { asClusters } from "../../stage/runners-fleet.ts";
import { until } from "../../stage/until.ts";
import {
  GRPC_PORT,
  HTTP_PORT,
  TCP_PORT,
  tcpRoute,
  trafficSplit,
  trafficTarget,
  workload,
} from "../../stage/workload.ts";
import { answersOf, untilAnsweredBy, type Area, type AreaStage } from "./row.ts";

const namespace = "smi-pods";
const program = "/app/dist/deploy/shop/main.js";

function account(name: string): Manifest {
  return { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace, name } };
}

/** A headless Service and a StatefulSet of two pods behind it. */
function statefulSet(scene: Scene, name: string): readonly Manifest[] {
  const labels = { app: name };
  const podName = { name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } };
  const env = [podName, { name: "SHOP_SERVICE", value: name }];
  const probe = { httpGet: { path: "/healthz", port: HTTP_PORT }, periodSeconds: 1 };
  const container = { name: "app", image: scene.image, args: [program], env, readinessProbe: probe };
  const spec = { serviceAccountName: name, containers: [container], terminationGracePeriodSeconds: 5 };
  const ports = [{ name: "web", port: HTTP_PORT, targetPort: HTTP_PORT, appProtocol: "http" }];
  return [
    account(name),
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { namespace, name },
      spec: { clusterIP: "None", selector: labels, ports },
    },
    {
      apiVersion: "apps/v1",
      kind: "StatefulSet",
      metadata: { namespace, name },
      spec: {
        serviceName: name,
        replicas: 2,
        podManagementPolicy: "Parallel",
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec },
      },
    },
  ];
}

/** Of a pod's second container, which shares its ports with the first. */
const SECOND_HTTP_PORT = 8081;

/** Asks the application on its own loopback, as `grpc_health_probe` or a script would. */
const asksItself = `fetch("http://127.0.0.1:${SECOND_HTTP_PORT}/healthz").then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))`;

/** Every kind of probe, on a workload that nobody may call; `service`: of which its gRPC probe asks. */
function probed(scene: Scene, name: string, service: string): readonly Manifest[] {
  const labels = { app: name };
  const often = { periodSeconds: 1, failureThreshold: 60, timeoutSeconds: 10 };
  const first = {
    name: "app",
    image: scene.image,
    args: [program],
    env: [{ name: "SHOP_TCP_PORT", value: String(TCP_PORT) }],
    ports: [{ name: "web", containerPort: HTTP_PORT }],
    startupProbe: { ...often, httpGet: { path: "/healthz", port: "web" } },
    livenessProbe: { ...often, tcpSocket: { port: TCP_PORT } },
    readinessProbe: { ...often, httpGet: { path: "/healthz", port: HTTP_PORT } },
  };
  const second = {
    ...{ name: "rpc", image: scene.image, args: [program] },
    env: [
      { name: "SHOP_HTTP_PORT", value: String(SECOND_HTTP_PORT) },
      { name: "SHOP_GRPC_PORT", value: String(GRPC_PORT) },
    ],
    startupProbe: { ...often, exec: { command: ["node", "-e", asksItself] } },
    livenessProbe: { ...often, grpc: { port: GRPC_PORT } },
    readinessProbe: { ...often, failureThreshold: 1, grpc: { port: GRPC_PORT, service } },
  };
  const spec = { serviceAccountName: name, containers: [first, second], terminationGracePeriodSeconds: 5 };
  return [
    account(name),
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { namespace, name },
      spec: { replicas: 1, selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
    },
  ];
}

/** A Job whose only act is one call, made at once. */
function job(scene: Scene, name: string, url: string): Manifest {
  const call = `fetch(${JSON.stringify(url)}).then((answer) => process.exit(answer.status === 200 ? 0 : 3), () => process.exit(4))`;
  const container = { name: "app", image: scene.image, args: ["-e", call] };
  const spec = { serviceAccountName: "client", restartPolicy: "Never", containers: [container] };
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { namespace, name },
    spec: { backoffLimit: 0, template: { metadata: { labels: { app: name } }, spec } },
  };
}

async function deploy(scene: Scene): Promise<void> {
  const rule = { kind: "TCPRoute", name: "web" } as const;
  await scene.apply("east", [
    ...statefulSet(scene, "db"),
    ...statefulSet(scene, "db-next"),
    ...workload({ namespace, name: "client", image: scene.image }),
    ...probed(scene, "probed", "shop"),
    tcpRoute(namespace, "web", [HTTP_PORT]),
    ...["db", "db-next"].map((to) => trafficTarget({ namespace, name: to, to, from: ["client"], rule })),
  ]);
  await scene.ready("east");
  // never ready, so it comes after those that are waited for
  await scene.apply("east", probed(scene, "unwell", "down"));
}

function kubectl({ fleet }: AreaStage, ...args: readonly string[]): Promise<string> {
  return asClusters(fleet)
    .up.fleet.cluster("east")
    .kubectl([...args, "-n", namespace]);
}

interface UnhealthyEvent {
  readonly involvedObject: { readonly name: string };
  readonly message: string;
}

const at = (host: string) => `http://${host}:${HTTP_PORT}/`;

async function podOf(stage: AreaStage, url: string): Promise<string | undefined> {
  const caller = await stage.caller("east", "client");
  return (await caller.request({ url })).headers?.["x-shop-pod"];
}

export const podsArea: Area = {
  name: "a pod",
  namespace,
  members: ["east"],
  deploy,
  rows: [
    {
      name: "of a StatefulSet is called by its own name, and all of them by the headless Service's",
      play: async (stage) => {
        for (const pod of ["db-0", "db-1"])
          await until(
            `${pod} by its name`,
            30_000,
            async () => (await podOf(stage, at(`${pod}.db.${namespace}`))) === pod,
          );
        const caller = await stage.caller("east", "client");
        await untilAnsweredBy(caller, at(`db.${namespace}.svc.cluster.local`), "db");
      },
    },
    {
      name: "of a StatefulSet that is split is still itself by its own name, while the Service's name obeys the split",
      play: async (stage) => {
        const caller = await stage.caller("east", "client");
        const backends = { "db-next": 1 };
        await stage.scene.apply("east", [trafficSplit({ namespace, name: "db", service: "db", backends })]);
        await untilAnsweredBy(caller, at(`db.${namespace}`), "db-next");
        expect(await podOf(stage, at(`db-1.db.${namespace}`))).toBe("db-1");
        expect(await answersOf(caller, at(`db-0.db.${namespace}.svc.cluster.local.`), 8)).toEqual({ db: 8 });
        await stage.scene.remove("east", "trafficsplit/db");
        await untilAnsweredBy(caller, at(`db.${namespace}`), "db");
      },
    },
    {
      name: "that nobody may call is ready and lives: the kubelet's probes by HTTP, TCP, gRPC and a command are answered",
      play: async (stage) => {
        await kubectl(stage, "rollout", "status", "deploy/probed", "--timeout=60s");
        const template = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
        expect((await kubectl(stage, "get", "pods", "-l", "app=probed", "-o", template)).trim()).toBe("0 0");
      },
    },
    {
      name: "whose application says by gRPC that it does not serve is not ready: the kubelet hears the application, not its sidecar",
      play: async (stage) => {
        const refused = await until("the kubelet to be told", 60_000, async () => {
          const events = await kubectl(stage, "get", "events", "--field-selector", "reason=Unhealthy", "-o", "json");
          const { items } = JSON.parse(events) as { readonly items: readonly UnhealthyEvent[] };
          const about = items.filter(({ involvedObject }) => involvedObject.name.startsWith("unwell-"));
          return about.find(({ message }) => message.includes("NOT_SERVING"))?.message;
        });
        expect(refused).toContain("Readiness probe failed");
        const template = "jsonpath={.items[*].status.containerStatuses[?(@.name=='rpc')].ready}";
        expect((await kubectl(stage, "get", "pods", "-l", "app=unwell", "-o", template)).trim()).toBe("false");
      },
    },
    {
      name: "calls others from its first moment, and a Job ends with its application",
      play: async (stage) => {
        await stage.scene.apply("east", [job(stage.scene, "first-call", at(`db.${namespace}`))]);
        await kubectl(stage, "wait", "--for=condition=complete", "--timeout=60s", "job/first-call");
        const template = "jsonpath={.status.succeeded} {.status.failed}";
        expect((await kubectl(stage, "get", "job/first-call", "-o", template)).trim()).toBe("1");
      },
    },
  ],
};
