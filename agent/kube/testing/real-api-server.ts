// A real kube-apiserver on a real etcd, on loopback, for the tests of this folder: started in a temporary folder in about
// four seconds, killed and removed by stop(). No kubelet, no controllers: objects stay as the test writes them.
import { spawn, type ChildProcess } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { createServer } from "node:net";
import { homedir, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface RealApiServer {
  readonly port: number;
  readonly etcdPort: number;
  /** With the rights of system:masters; `port` may be another one, of a proxy in between. */
  kubeconfig(port?: number): string;
  /** kill -9. */
  kill(): Promise<void>;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** The multi-call program that test-clusters builds, or separate programs (KUBEBUILDER_ASSETS). */
export interface KubePrograms {
  readonly etcd: readonly [string, ...string[]];
  readonly apiServer: readonly [string, ...string[]];
}

export function findKubePrograms(): KubePrograms | undefined {
  const assets = process.env["KUBEBUILDER_ASSETS"];
  if (assets !== undefined && existsSync(join(assets, "kube-apiserver")) && existsSync(join(assets, "etcd"))) {
    return { etcd: [join(assets, "etcd")], apiServer: [join(assets, "kube-apiserver")] };
  }
  const cache =
    process.env["ISTHMUS_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "isthmus");
  const found = findFile(cache, "kube", 4);
  return found === undefined ? undefined : { etcd: [found, "etcd"], apiServer: [found, "kube-apiserver"] };
}

function findFile(directory: string, name: string, depth: number): string | undefined {
  if (!existsSync(directory)) return undefined;
  const entries = readdirSync(directory, { withFileTypes: true });
  const file = entries.find((entry) => entry.isFile() && entry.name === name && isProgram(join(directory, name)));
  if (file !== undefined) return join(directory, name);
  if (depth === 0) return undefined;
  for (const entry of entries.filter((candidate) => candidate.isDirectory())) {
    const found = findFile(join(directory, entry.name), name, depth - 1);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isProgram(path: string): boolean {
  return (statSync(path).mode & 0o111) !== 0;
}

export async function startApiServer(programs: KubePrograms): Promise<RealApiServer> {
  const directory = mkdtempSync(join(tmpdir(), "isthmus-kube-"));
  const token = randomBytes(16).toString("hex");
  writeFileSync(join(directory, "tokens.csv"), `${token},tester,tester,"system:masters"\n`);
  writeKeys(directory);
  const [port, etcdPort, peerPort] = await freePorts(3);
  const etcd = start(programs.etcd, etcdFlags(directory, etcdPort, peerPort), directory);
  let api: ChildProcess | undefined;
  const startApi = async () => {
    api = start(programs.apiServer, apiFlags(directory, port, etcdPort), directory);
    await ready(port, token, api, directory);
  };
  const end = async (child: ChildProcess | undefined) => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  };
  const stop = async () => {
    await end(api);
    await end(etcd);
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    await startApi();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    port,
    etcdPort,
    kubeconfig: (through = port) => writeKubeconfig(directory, through, token),
    kill: () => end(api),
    restart: startApi,
    stop,
  };
}

function etcdFlags(directory: string, port: number, peerPort: number): readonly string[] {
  const client = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  return [
    ...["--name", "t", "--data-dir", join(directory, "etcd"), "--unsafe-no-fsync", "--log-level", "error"],
    ...["--listen-client-urls", client, "--advertise-client-urls", client],
    ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `t=${peer}`],
  ];
}

function apiFlags(directory: string, port: number, etcdPort: number): readonly string[] {
  return [
    ...["--etcd-servers", `http://127.0.0.1:${etcdPort}`, "--bind-address", "127.0.0.1", "--secure-port", String(port)],
    ...["--cert-dir", join(directory, "certs"), "--token-auth-file", join(directory, "tokens.csv")],
    ...[
      "--service-account-issuer",
      "https://kubernetes.default.svc",
      "--api-audiences",
      "https://kubernetes.default.svc,isthmus",
    ],
    ...[
      "--service-account-key-file",
      join(directory, "sa.pub"),
      "--service-account-signing-key-file",
      join(directory, "sa.key"),
    ],
    ...["--service-cluster-ip-range", "10.111.0.0/16", "--endpoint-reconciler-type", "none"],
    ...["--authorization-mode", "RBAC", "--disable-admission-plugins", "ServiceAccount"],
  ];
}

function writeKeys(directory: string): void {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  writeFileSync(join(directory, "sa.key"), privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  writeFileSync(join(directory, "sa.pub"), publicKey.export({ type: "spki", format: "pem" }));
}

function start(program: readonly [string, ...string[]], flags: readonly string[], directory: string): ChildProcess {
  const [file, ...args] = program;
  const log = openSync(join(directory, `${basename(args[0] ?? file)}.log`), "a");
  return spawn(file, [...args, ...flags], { stdio: ["ignore", log, log], cwd: directory });
}

const READY_DEADLINE_MS = 60_000;

async function ready(port: number, token: string, api: ChildProcess, directory: string): Promise<void> {
  const deadline = Date.now() + READY_DEADLINE_MS;
  while (Date.now() < deadline && api.exitCode === null) {
    if (await isReady(port, token)) return;
    await sleep(100);
  }
  const log = readFileSync(join(directory, "kube-apiserver.log"), "utf8").slice(-2000);
  throw new Error(`kube-apiserver did not become ready:\n${log}`);
}

function isReady(port: number, token: string): Promise<boolean> {
  return new Promise((resolve) => {
    const headers = { authorization: `Bearer ${token}` };
    const call = request({
      host: "127.0.0.1",
      port,
      path: "/readyz",
      headers,
      rejectUnauthorized: false,
      timeout: 2000,
    });
    call.once("response", (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    call.once("error", () => resolve(false));
    call.once("timeout", () => call.destroy());
    call.end();
  });
}

function writeKubeconfig(directory: string, port: number, token: string): string {
  const path = join(directory, `kubeconfig-${port}`);
  const ca = join(directory, "certs", "apiserver.crt");
  const cluster = {
    server: `https://127.0.0.1:${port}`,
    "certificate-authority": ca,
    "tls-server-name": "kubernetes.default",
  };
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "t", cluster }],
    users: [{ name: "t", user: { token } }],
    contexts: [{ name: "t", context: { cluster: "t", user: "t" } }],
    "current-context": "t",
  };
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  return path;
}

/** Below 32768, so that no outgoing connection of this machine can hold one. */
async function freePorts(count: 3): Promise<[number, number, number]>;
async function freePorts(count: number): Promise<readonly number[]> {
  const found = new Set<number>();
  while (found.size < count) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (await isFree(port)) found.add(port);
  }
  return [...found];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
