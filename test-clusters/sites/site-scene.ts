// A scenario's stage on sites: manifests become files in the sites' folders, replicas become `isthmus run` with the shop's
// program, and callers use the HTTP proxy and the loopback addresses that an application of the workload would use.
import { randomInt } from "node:crypto";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { readCredentialFolder, workloadFolder } from "../../agent/site/credential-folder.ts";
import type { BoundInput } from "../../agent/ir/inputs.ts";
import { addressText } from "../../agent/site/loopback-range.ts";
import type { Manifest, Scene } from "../stage/fleet-under-test.ts";
import { until } from "../stage/until.ts";
import { openCaller, type Caller } from "../traffic/caller.ts";
import { runFolderPath } from "../../cli/workload/run-folder.ts";
import { replicaCount, replicasOf, type ReplicaPlan } from "./deployment.ts";
import { memberMark, type SiteMember } from "./site-member.ts";
import { smallHeap, type SiteProcesses } from "./site-processes.ts";

const READY_MS = 45_000;
const shopProgram = fileURLToPath(new URL("../../deploy/shop/main.ts", import.meta.url));
/** What a kubelet or an API server would do something with, and a site has no need of. */
const withoutMeaning: ReadonlySet<unknown> = new Set(["ServiceAccount", "Deployment"]);

export interface SiteSceneParts {
  readonly namespace: string;
  readonly members: ReadonlyMap<string, SiteMember>;
  readonly processes: SiteProcesses;
  readonly envoy: string;
  /** `127.X.`: addresses of this run on which applications may answer. */
  readonly applications: string;
}

/** One replica that was started in this scene. */
interface Replica {
  readonly member: SiteMember;
  readonly deployment: string;
  readonly plan: ReplicaPlan;
  /** Of its process. */
  readonly name: string;
}

interface Named {
  readonly kind: string;
  /** No namespace: a Namespace. */
  readonly metadata: { readonly namespace?: string; readonly name: string };
}

export function openSiteScene(parts: SiteSceneParts): Scene {
  const { namespace, processes } = parts;
  const replicas: Replica[] = [];
  const services: Manifest[] = [];
  const callers: Caller[] = [];
  const files = new Set<string>();
  const memberOf = (name: string): SiteMember => {
    const found = parts.members.get(name);
    if (found === undefined) throw new Error(`the fleet has no site ${name}`);
    return found;
  };
  const write = async (member: SiteMember, manifest: Manifest) => {
    const file = fileOf(member, manifest as unknown as Named);
    files.add(file);
    await writeFile(`${file}.tmp`, JSON.stringify(manifest, null, 2));
    await rename(`${file}.tmp`, file);
  };
  const of = (member: string, deployment: string) =>
    replicas.filter((each) => each.member.name === member && each.deployment === deployment);
  const deploy = async (member: SiteMember, deployment: Manifest) => {
    const addresses = Array.from({ length: replicaCount(deployment) }, () => freshAddress(parts.applications));
    const plans = replicasOf({ deployment, services, addresses });
    const { name } = (deployment as unknown as Named).metadata;
    await Promise.all(
      plans.map(async (plan) => {
        const replica = { member, deployment: name, plan, name: `${member.name}.${namespace}.${plan.name}` };
        replicas.push(replica);
        if (plan.workload === undefined) return; // outside the mesh nothing but its calls matters
        await write(member, plan.workload);
        await startReplica(replica, parts);
      }),
    );
  };
  const stopPods = async (member: string, deployment: string) => {
    await Promise.all(of(member, deployment).map(({ name }) => processes.kill(name)));
  };
  const scene: Scene = {
    namespace,
    image: "isthmus.dev/isthmus",
    apply: async (name, manifests) => {
      const member = memberOf(name);
      services.push(...manifests.filter((each) => each["kind"] === "Service"));
      await Promise.all(
        manifests.filter((each) => !withoutMeaning.has(each["kind"])).map((each) => write(member, each)),
      );
      for (const each of manifests.filter(({ kind }) => kind === "Deployment")) await deploy(member, each);
    },
    remove: async (name, kindAndName, from = namespace) => {
      const [kind = "", object = ""] = kindAndName.split("/");
      const wanted = `${from}.${kind}.${object}.json`.toLowerCase();
      const [file] = [...files].filter(
        (each) => each.startsWith(memberOf(name).manifestsDir) && each.toLowerCase().endsWith(`/${wanted}`),
      );
      if (file === undefined) throw new Error(`${name} has no ${kindAndName}`);
      await rm(file);
    },
    ready: async (name) => {
      const started = replicas.filter(({ member, plan }) => member.name === name && plan.workload !== undefined);
      await Promise.all(started.map((each) => untilReady(each, parts)));
    },
    stopPods,
    startPods: async (member, deployment, count) => {
      await Promise.all(
        of(member, deployment)
          .slice(0, count)
          .map((each) => startReplica(each, parts)),
      );
    },
    restartPods: async (member, deployment) => {
      await stopPods(member, deployment);
      await Promise.all(of(member, deployment).map((each) => startReplica(each, parts)));
    },
    podAddresses: async (member, deployment) => {
      const sidecars = await Promise.all(of(member, deployment).map((each) => sidecarOf(each, namespace)));
      return sidecars.flatMap(({ inboundAddresses }) => inboundAddresses.slice(0, 1));
    },
    sidecarStats: async (member, deployment) => {
      const [replica] = of(member, deployment);
      if (replica === undefined) throw new Error(`${member} has no ${namespace}/${deployment}`);
      const from = { kind: "data", dir: replica.member.dataDir } as const;
      const uid = process.getuid?.() ?? 0;
      const folder = runFolderPath(`${namespace}.${replica.plan.name}`, { from, env: processes.env, uid });
      return textOf(join(folder, "admin.sock"), "/stats/prometheus");
    },
    caller: async (member, deployment) => {
      const [replica] = of(member, deployment);
      if (replica === undefined) throw new Error(`${member} has no ${namespace}/${deployment}`);
      const opened = await callerOf(replica, parts);
      callers.push(opened);
      return opened;
    },
    close: async () => {
      for (const caller of callers) caller.close();
      await Promise.all(replicas.map(({ name }) => processes.kill(name)));
      await Promise.all([...files].map((file) => rm(file, { force: true })));
    },
  };
  return scene;
}

function textOf(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = get({ socketPath, path }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve(text));
    });
    sent.on("error", reject);
  });
}

function fileOf(member: SiteMember, { kind, metadata }: Named): string {
  return join(member.manifestsDir, `${metadata.namespace ?? metadata.name}.${kind}.${metadata.name}.json`);
}

/** Applications of one machine share its ports, so each has an address of its own. */
function freshAddress(prefix: string): string {
  return `${prefix}${randomInt(256)}.${randomInt(1, 255)}`;
}

async function startReplica({ member, name, plan }: Replica, parts: SiteSceneParts): Promise<void> {
  const { namespace, processes, envoy } = parts;
  const who = ["--account", plan.serviceAccount, "--namespace", namespace, "--name", plan.name];
  const command = [process.execPath, "--disable-warning=ExperimentalWarning", ...smallHeap, shopProgram];
  await processes.isthmus(name, ["run", ...who, "--data", member.dataDir, "--envoy", envoy, "--", ...command], {
    ...plan.env,
    [memberMark]: member.name,
  });
}

function nodeIn(processes: SiteProcesses): { readonly command: string; readonly args: readonly string[] } {
  const [command = "", ...args] = processes.inPlace([process.execPath, ...smallHeap]);
  return { command, args };
}

/** `isthmus run`, its sidecar, and the application, which is started once the sidecar is ready. */
const WHOLE = 3;

/** What the agent says may be of the process before: whether this one has come so far is seen in its family. */
async function untilReady({ member, name, plan }: Replica, parts: SiteSceneParts): Promise<void> {
  const { namespace, processes } = parts;
  await until(`${name} to be ready`, READY_MS, async () => {
    if (!(await processes.isRunning(name))) throw new Error(`${name} ended: ${await processes.lastWords(name)}`);
    if ((await processes.family(name)).length < WHOLE) return false;
    return (await member.workloads()).some(
      (each) => each.ready && each.namespace === namespace && each.name === plan.name,
    );
  });
}

async function sidecarOf({ member, name, plan }: Replica, namespace: string): Promise<BoundInput> {
  const folder = workloadFolder(member.dataDir, { namespace, name: plan.name });
  const facts = await until(`the credential of ${name}`, READY_MS, () => readCredentialFolder(folder));
  if (facts.sidecar === undefined) throw new Error(`${name} has no sidecar`);
  return facts.sidecar;
}

/** Calls as the workload's application does: HTTP through its sidecar's proxy, TCP at the loopback address of the service. */
async function callerOf(replica: Replica, { namespace, processes }: SiteSceneParts): Promise<Caller> {
  const { member, name, plan } = replica;
  if (plan.workload === undefined) return strangerOf(member, name, processes);
  const { httpProxy, loopback } = await sidecarOf(replica, namespace);
  const env = { ...processes.env, HTTP_PROXY: `http://${httpProxy.address}:${httpProxy.port}` };
  const caller = openCaller({ ...nodeIn(processes), env, name });
  return {
    ...caller,
    tcp: async (options) => {
      const host = await serviceAddress(member, options.host, loopback.blockStart);
      // as a name that is not known yet
      return host === undefined ? { received: "", end: "ENOTFOUND", ms: 0 } : caller.tcp({ ...options, host });
    },
    rpc: async (options) => {
      const host = await serviceAddress(member, options.host, loopback.blockStart);
      if (host === undefined) return { error: "ENOTFOUND" };
      return caller.rpc({ ...options, host, authority: `${options.host}:${options.port}` });
    },
    hold: async (options) => {
      const host = await serviceAddress(member, options.host, loopback.blockStart);
      if (host === undefined) return { kind: options.kind, lastHeardAtMs: 0, end: "ENOTFOUND" };
      return caller.hold({ ...options, host, authority: `${options.host}:${options.port}` });
    },
  };
}

/** Who is not of the mesh has no sidecar and calls the address at which another's sidecar listens. */
function strangerOf(member: SiteMember, name: string, processes: SiteProcesses): Caller {
  const caller = openCaller({ ...nodeIn(processes), env: processes.env, name });
  return {
    ...caller,
    request: async (options) => {
      const { hostname, host } = new URL(options.url);
      const [service = "", namespace = ""] = hostname.split(".");
      const facts = await readCredentialFolder(workloadFolder(member.dataDir, { namespace, name: `${service}-0` }));
      const [address] = facts?.sidecar?.inboundAddresses ?? [];
      if (address === undefined) return { error: "ENOTFOUND", ms: 0 };
      return caller.request({ ...options, url: options.url.replace(hostname, address), headers: { host } });
    },
  };
}

/** What a name stands for to one workload: the service's offset in that workload's block. */
async function serviceAddress(member: SiteMember, host: string, blockStart: string): Promise<string | undefined> {
  const [service = "", namespace = "", ...zone] = host.split(".");
  const imported = zone.join(".") === "svc.clusterset.local";
  const book = JSON.parse(await readFile(join(member.dataDir, "addresses.json"), "utf8")) as {
    readonly services: Readonly<Record<string, number>>;
  };
  const offset = book.services[`${namespace}/${imported ? `isthmus-${service}` : service}`];
  if (offset === undefined) return undefined;
  const first = blockStart.split(".").reduce((sum, byte) => sum * 256 + Number(byte), 0);
  return addressText(first + offset);
}
