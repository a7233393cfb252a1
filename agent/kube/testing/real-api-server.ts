// A real kube-apiserver on a real etcd, on loopback, for the tests of this folder: started in a temporary folder in about
// four seconds, killed and removed by stop(). No kubelet, no controllers: objects stay as the test writes them.
import { spawn, type ChildProcess } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ensureKube, presentKube } from "../../../test-clusters/binaries/kube.ts";
import { lineProgress } from "../../../shared/progress.ts";
import { ownGround } from "../../../shared/testing/ground.ts";

export interface RealApiServer {
  readonly port: number;
  /** With the rights of system:masters; `port` may be another one, of a proxy in between. */
  kubeconfig(port?: number): string;
  /** kill -9. */
  kill(): Promise<void>;
  restart(): Promise<void>;
  /** Makes etcd forget every revision but the present one: watches that resume from an older one get 410. */
  compact(): Promise<void>;
  stop(): Promise<void>;
}

export interface ApiServerPrograms {
  readonly etcd: string;
  readonly "kube-apiserver": string;
}

/** No kubelet runs here, so whatever the clusters would use will do. */
const anyMachine = { cgroupVersion: 2, containerdMajor: 2 } as const;

/** Undefined, with the reason printed, where there are no Kubernetes programs; in CI they are built instead. */
export async function kubePrograms(): Promise<ApiServerPrograms | undefined> {
  if (process.env["CI"] === "true") {
    return (
      await ensureKube(
        anyMachine,
        lineProgress((line) => void process.stderr.write(line)),
      )
    ).programs;
  }
  const present = await presentKube(anyMachine);
  if ("programs" in present) return present.programs;
  process.stderr.write(
    `skipped: tests against a real API server, for ${present.objection}; npm run clusters -- up makes them\n`,
  );
  return undefined;
}

export async function startApiServer(programs: ApiServerPrograms): Promise<RealApiServer> {
  const directory = mkdtempSync(join(tmpdir(), "isthmus-kube-"));
  const token = randomBytes(16).toString("hex");
  writeFileSync(join(directory, "tokens.csv"), `${token},tester,tester,"system:masters"\n`);
  writeKeys(directory);
  const ground = await ownGround();
  const [port, etcdPort, peerPort] = [await ground.port(), await ground.port(), await ground.port()];
  const etcd = start(programs.etcd, etcdFlags(directory, etcdPort, peerPort), directory);
  let api: ChildProcess | undefined;
  const startApi = async () => {
    api = start(programs["kube-apiserver"], apiFlags(directory, port, etcdPort), directory);
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
    compact: () => compactEtcd(etcdPort),
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

function start(program: string, flags: readonly string[], directory: string): ChildProcess {
  const log = openSync(join(directory, `${basename(program)}.log`), "a");
  // a test that is cut short, a killed one included, must leave no server behind
  const guarded = ["--pdeathsig", "KILL", program, ...flags];
  const child = spawn("setpriv", guarded, { stdio: ["ignore", log, log], cwd: directory });
  closeSync(log);
  return child;
}

/** etcd's own JSON gateway (api/etcdserverpb). */
async function compactEtcd(port: number): Promise<void> {
  const call = async (path: string, body: object) => {
    const answer = await fetch(`http://127.0.0.1:${port}/v3/kv/${path}`, {
      method: "POST",
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`etcd ${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as { readonly header: { readonly revision: string } };
  };
  const { header } = await call("range", { key: Buffer.from("/").toString("base64") });
  await call("compaction", { revision: header.revision, physical: true });
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
