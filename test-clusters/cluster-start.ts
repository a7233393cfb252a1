// Brings one cluster up: files, then programs in the order in which each finds what it needs, then the node Ready. Called
// by fleet.ts, for all clusters at once; it must not touch anything outside the cluster's own folders and namespaces.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { KubeBinaries } from "./binaries/kube.ts";
import { rootFromTemplate } from "./images/template.ts";
import { kubeClient, KubeStatusError, type KubeClient } from "./kube-client.ts";
import { makeCgroup, procsFile, type CgroupLayout } from "./machine/cgroups.ts";
import { containerdConfig, type ContainerdVersion } from "./machine/containerd.ts";
import { isAlive, processIdOf } from "./machine/proc.ts";
import { KUBERNETES_SERVICE_IP } from "./network/addresses.ts";
import { inNetns } from "./network/fabric.ts";
import { addons, PAUSE_IMAGE } from "./node/addons.ts";
import { auditPolicy, cniConfig, kubeletConfig, nodeResolvConf, proxyConfig } from "./node/files.ts";
import { kubeconfig } from "./node/kubeconfig.ts";
import { holderScript, inNode } from "./node/mounts.ts";
import { makeClusterPki, type ClusterPki, type KeyPair } from "./node/pki.ts";
import type { ClusterPlace } from "./node/place.ts";
import * as programs from "./node/programs.ts";
import type { RunPaths } from "./run/paths.ts";
import { birthCommand, logTail, pause, startProcess, type ProcessRecord } from "./run/processes.ts";
import { writeJson } from "./run/record.ts";

export interface ClusterDeps {
  readonly paths: RunPaths;
  readonly layout: CgroupLayout;
  readonly containerd: ContainerdVersion;
  readonly containerdProgram: string;
  readonly cniBinDir: string;
  readonly kube: KubeBinaries;
  /** Folders that the node must see: the cache with the programs, and the run's own. */
  readonly keep: readonly string[];
  /** Containerd root with the run's images, made while the control plane starts. */
  readonly template: Promise<string>;
  readonly signal: AbortSignal;
}

export interface StartedCluster {
  readonly place: ClusterPlace;
  readonly pki: ClusterPki;
  readonly client: KubeClient;
}

const API_READY_MS = 180_000; // seconds on an idle machine; a CI machine may be ten times over its cores
const NODE_READY_MS = 240_000;
const SOCKET_MS = 120_000;

async function writeFiles(place: ClusterPlace, pki: ClusterPki, deps: ClusterDeps): Promise<void> {
  const folders = [place.home, place.runtime, place.pki, `${place.home}/cni/net.d`, `${place.home}/pod-logs`];
  await Promise.all(folders.map((folder) => mkdir(folder, { recursive: true })));
  const file = (name: string, text: string) => writeFile(join(place.home, name), text, { mode: 0o600 });
  const pair = (name: string, keys: KeyPair) => [
    file(`pki/${name}.crt`, keys.certPem),
    file(`pki/${name}.key`, keys.keyPem),
  ];
  const access = (user: KeyPair) =>
    kubeconfig([{ cluster: place.cluster, server: place.server, caPem: pki.caPem, user }]);
  const settings = {
    root: place.containerdRoot,
    state: `${place.runtime}/containerd`,
    socket: place.socket,
    sandboxImage: PAUSE_IMAGE,
    cniBinDir: deps.cniBinDir,
    cniConfDir: `${place.home}/cni/net.d`,
  };
  await Promise.all([
    file("pki/ca.crt", pki.caPem),
    file("pki/front-proxy-ca.crt", pki.frontProxyCaPem),
    file("pki/sa.key", pki.serviceAccountKeyPem),
    file("pki/sa.pub", pki.serviceAccountPublicPem),
    ...pair("apiserver", pki.apiserver),
    ...pair("kubelet-client", pki.apiserverToKubelet),
    ...pair("front-proxy", pki.frontProxy),
    ...pair("node", pki.node),
    file("admin.kubeconfig", access(pki.admin)),
    file("node.kubeconfig", access(pki.node)),
    file("controller-manager.kubeconfig", access(pki.controllerManager)),
    file("scheduler.kubeconfig", access(pki.scheduler)),
    file("proxy.kubeconfig", access(pki.proxy)),
    file("kubelet.yaml", kubeletConfig(place)),
    file("kube-proxy.yaml", proxyConfig(place)),
    file("cni/net.d/10-pods.conflist", cniConfig(place)),
    file("audit-policy.yaml", auditPolicy),
    file("resolv.conf", nodeResolvConf),
    file("containerd.toml", containerdConfig(deps.containerd, settings)),
  ]);
}

interface Starter {
  readonly start: (name: string, argv: readonly string[]) => Promise<ProcessRecord>;
}

function starter(place: ClusterPlace, deps: ClusterDeps): Starter {
  return {
    start: (name, argv) =>
      startProcess(deps.paths, {
        name: `${place.cluster}/${name}`,
        procsFile: procsFile(deps.layout, `${place.cgroup}/system`),
        argv,
        cwd: place.home,
        logFile: join(deps.paths.logs, place.cluster, `${name}.log`),
      }),
  };
}

/** Starts the process that holds the node's mount namespace and waits until its mounts are made. */
async function startHolder(place: ClusterPlace, deps: ClusterDeps): Promise<number> {
  const name = `${place.cluster}/node`;
  const argv = inNetns(place.netns, [
    "unshare",
    "--mount",
    "--propagation",
    "slave",
    "sh",
    "-c",
    holderScript(deps.keep),
  ]);
  const birth = procsFile(deps.layout, `${place.cgroup}/system`);
  const [command, args] = birthCommand(birth, argv);
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], detached: true, cwd: "/" });
  let complaint = "";
  child.stderr.on("data", (chunk: Buffer) => (complaint += chunk.toString("utf8")));
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", () => resolve());
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`the mount namespace of ${place.cluster} failed: ${complaint.trim()}`)));
  });
  child.stdout.destroy();
  child.stderr.destroy();
  child.removeAllListeners("exit");
  child.unref();
  const id = child.pid === undefined ? undefined : processIdOf(child.pid);
  if (id === undefined) throw new Error(`the node of ${place.cluster} ended at once`);
  const spec = { name, procsFile: birth, argv, logFile: "/dev/null" };
  await writeJson(join(deps.paths.processes, `${place.cluster}--node.json`), { ...id, spec });
  return id.pid;
}

/** Waits for a condition that only another program can make true; ends early when that program has died. */
async function until(
  what: string,
  limits: { readonly ms: number; readonly owner: ProcessRecord; readonly signal: AbortSignal },
  holds: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + limits.ms;
  const { owner } = limits;
  for (;;) {
    limits.signal.throwIfAborted();
    if (await holds()) return;
    if (!isAlive(owner)) throw new Error(`${owner.spec.name} ended: ${await logTail(owner.spec.logFile)}`);
    if (performance.now() > deadline)
      throw new Error(`${what} not after ${limits.ms / 1000} s: ${await logTail(owner.spec.logFile)}`);
    await pause(50);
  }
}

async function startControlPlane(place: ClusterPlace, client: KubeClient, deps: ClusterDeps): Promise<void> {
  const { kube, signal } = deps;
  const { start } = starter(place, deps);
  const here = (program: string, flags: readonly string[]) => inNetns(place.netns, [program, ...flags]);
  await start("etcd", here(kube.programs.etcd, programs.etcdFlags(place)));
  const api = await start("kube-apiserver", here(kube.programs["kube-apiserver"], programs.apiserverFlags(place)));
  await until("API server ready", { ms: API_READY_MS, owner: api, signal }, () =>
    client.get("/readyz").then(
      () => true,
      () => false,
    ),
  );
  await start(
    "kube-controller-manager",
    here(kube.programs["kube-controller-manager"], programs.controllerManagerFlags(place)),
  );
  await start("kube-scheduler", here(kube.programs["kube-scheduler"], programs.schedulerFlags(place)));
}

async function startContainerd(place: ClusterPlace, holder: number, deps: ClusterDeps): Promise<void> {
  await rootFromTemplate(await deps.template, place.containerdRoot, deps.signal);
  const argv = inNode(holder, [deps.containerdProgram, "--config", `${place.home}/containerd.toml`]);
  const owner = await starter(place, deps).start("containerd", argv);
  await until("containerd ready", { ms: SOCKET_MS, owner, signal: deps.signal }, () => {
    return Promise.resolve(existsSync(place.socket));
  });
}

interface KubeletStart {
  readonly signal: AbortSignal;
  readonly registered: () => Promise<boolean>;
}

/**
 * containerd's socket is there before its CRI service answers, and a kubelet that meets that moment ends. A service
 * manager would start it again, and so does this; any other end is a failure.
 */
async function startKubelet(
  start: () => Promise<ProcessRecord>,
  { signal, registered }: KubeletStart,
): Promise<ProcessRecord> {
  for (;;) {
    const kubelet = await start();
    while (isAlive(kubelet)) {
      signal.throwIfAborted();
      if (await registered()) return kubelet;
      await pause(50);
    }
    const lastWords = await logTail(kubelet.spec.logFile);
    if (!lastWords.includes("server is not initialized yet")) throw new Error(`kubelet ended: ${lastWords}`);
  }
}

async function applyAddons(client: KubeClient, signal: AbortSignal): Promise<void> {
  for (const { path, object } of addons) {
    for (;;) {
      signal.throwIfAborted();
      const failure = await client.apply(path, object).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (failure === undefined) break;
      // the API server makes kube-system a moment after it is ready
      const tooEarly = failure instanceof KubeStatusError && (failure.status === 404 || failure.status === 403);
      if (!tooEarly) throw failure instanceof Error ? failure : new Error("apply failed", { cause: failure });
      await pause(100);
    }
  }
}

interface Conditioned {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

function hasCondition(object: Conditioned, type: string): boolean {
  return object.status?.conditions?.some((each) => each.type === type && each.status === "True") ?? false;
}

export async function startCluster(place: ClusterPlace, deps: ClusterDeps): Promise<StartedCluster> {
  await Promise.all([
    makeCgroup(deps.layout, `${place.cgroup}/system`, true),
    makeCgroup(deps.layout, place.cgroup, false),
  ]);
  const pki = await makeClusterPki({
    cluster: place.cluster,
    nodeName: place.nodeName,
    nodeAddress: place.nodeAddress,
    serviceAddress: KUBERNETES_SERVICE_IP,
  });
  await writeFiles(place, pki, deps);
  const client = kubeClient({ server: place.server, caPem: pki.caPem, user: pki.admin });
  const holder = await startHolder(place, deps);
  await Promise.all([startControlPlane(place, client, deps), startContainerd(place, holder, deps)]);
  const { start } = starter(place, deps);
  const kubeletArgv = inNode(holder, [deps.kube.programs.kubelet, ...programs.kubeletFlags(place)]);
  const nodePath = `/api/v1/nodes/${place.nodeName}`;
  const kubelet = await startKubelet(() => start("kubelet", kubeletArgv), {
    signal: deps.signal,
    registered: () =>
      client.get(nodePath).then(
        () => true,
        () => false,
      ),
  });
  await start("kube-proxy", inNetns(place.netns, [deps.kube.programs["kube-proxy"], ...programs.proxyFlags(place)]));
  await applyAddons(client, deps.signal);
  const limits = { ms: NODE_READY_MS, owner: kubelet, signal: deps.signal };
  await until(`node of ${place.cluster} Ready`, limits, async () => {
    const node = await client.get<Conditioned>(nodePath).catch(() => ({}));
    return hasCondition(node, "Ready");
  });
  await until(`DNS of ${place.cluster} ready`, limits, async () => {
    const path = "/apis/apps/v1/namespaces/kube-system/deployments/coredns";
    const deployment = await client.get<{ status?: { readyReplicas?: number } }>(path);
    return (deployment.status?.readyReplicas ?? 0) > 0;
  });
  return { place, pki, client };
}
