// Two clusters of a fleet in miniature, on real Envoys: `front` and `cart` in east, a gateway and `cart` in west, and a machine
// without a sidecar. Each proxy gets exactly what translate makes for it.
import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bootstrapConfig } from "../bootstrap.ts";
import type { ProxyTrust } from "../proxy.ts";
import { workloadEnvironment, type LabelledWorkload } from "../request-metrics.ts";
import { translate } from "../translate.ts";
import { testFleet, type TestFleet } from "./certificates.ts";
import { eventually, start, type Running } from "./envoy.ts";
import { fedFromFiles, writeResources } from "./file-xds.ts";
import { fleetDomain, readCase } from "./mesh-case.ts";
import { openNetwork, type Network, type Pod } from "./network.ts";

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** A pod with its proxy (and application), told what to do by the text of a case. */
export class Member {
  readonly pod: Pod;
  readonly dir: string;
  readonly #envoy: string;
  readonly #trust: ProxyTrust;
  readonly #labels: LabelledWorkload;
  proxy: Running | undefined;
  application: Running | undefined;

  constructor(input: { pod: Pod; dir: string; envoy: string; trust: ProxyTrust; labels: LabelledWorkload }) {
    this.pod = input.pod;
    this.dir = input.dir;
    this.#envoy = input.envoy;
    this.#trust = input.trust;
    this.#labels = input.labels;
  }

  /** Gives the proxy the resources of this case; a running one takes them over. */
  configure(text: string): void {
    const { ir, proxy, settings } = readCase(text);
    writeResources(this.dir, translate(ir, proxy, this.#trust, settings));
  }

  async startProxy(): Promise<void> {
    const options = {
      kind: "sidecar",
      fleetDomain,
      trustDir: this.dir,
      tokenDir: this.dir,
      configDir: this.dir,
      probes: [],
    } as const;
    const { ir } = readCase("proxy: { kind: gateway }");
    const agent = { host: "127.0.0.1", port: 15128 };
    const bootstrap = fedFromFiles(bootstrapConfig({ ...options, cluster: ir.cluster, agent }), this.dir, 15000);
    const file = join(this.dir, "bootstrap.json");
    writeFileSync(file, JSON.stringify(bootstrap));
    const flags = [
      "--service-node",
      "n",
      "--service-cluster",
      "c",
      "--concurrency",
      "1",
      "--disable-hot-restart",
      "-l",
      "warning",
    ];
    const drain = ["--drain-strategy", "immediate", "--drain-time-s", "2"];
    const command = this.pod.inside([this.#envoy, "-c", file, ...flags, ...drain], "proxy");
    const running = start(command, workloadEnvironment(this.#labels));
    this.proxy = running;
    await eventually(`Envoy at ${this.pod.address} is live`, async () => {
      // not the gauge `server.state`: it says 0, which is live, until the first flush
      const { status } = await this.curl("http://127.0.0.1:15000/ready");
      const warming = status === 200 ? await this.stat("listener_manager.total_listeners_warming") : undefined;
      return warming === 0 ? true : undefined;
    }).catch((error: unknown) => {
      throw new Error(running.log(), { cause: error });
    });
  }

  /** On loopback, where a sidecar expects it; a pod without one listens on all addresses. */
  async startApplication(name: string, host = "127.0.0.1"): Promise<void> {
    const program = [process.execPath, join(import.meta.dirname, "application.mjs"), "8080", name, host];
    const running = start(this.pod.inside(program));
    this.application = running;
    await eventually("the application listens", () =>
      Promise.resolve(running.log().includes("listening") ? true : undefined),
    );
  }

  /** curl inside the pod, as its application would call. */
  curl(...args: readonly string[]): Promise<Answer> {
    const [program = "", ...rest] = this.pod.inside([
      "curl",
      "-s",
      "-m",
      "10",
      "--path-as-is",
      "-w",
      "\n%{http_code}",
      ...args,
    ]);
    return new Promise((resolve) => {
      execFile(program, rest, (_error, stdout) => {
        const end = stdout.lastIndexOf("\n");
        resolve({ status: Number(stdout.slice(end + 1)), text: stdout.slice(0, end) });
      });
    });
  }

  /**
   * The same until something comes back: Envoy closes a connection that it takes for raw TCP, which HTTP and TLS are to it when its thread
   * stalls for longer than a listener's inspectors wait (0.1 s). What comes back then is its verdict.
   */
  answered(...args: readonly string[]): Promise<Answer> {
    return eventually(`an answer to ${args.join(" ")}`, async () => {
      const answer = await this.curl(...args);
      return answer.status === 0 ? undefined : answer;
    });
  }

  async stat(name: string): Promise<number> {
    const { text } = await this.curl(`http://127.0.0.1:15000/stats?filter=^${name}$`);
    return Number(text.split(": ")[1] ?? "-1");
  }

  async stop(): Promise<void> {
    await this.proxy?.stop();
    await this.application?.stop();
  }
}

export interface World {
  readonly front: Member;
  readonly cartEast: Member;
  readonly gatewayWest: Member;
  readonly cartWest: Member;
  readonly outsider: Member;
  readonly fleet: TestFleet;
  stop(): Promise<void>;
}

export async function openWorld(envoy: string): Promise<World> {
  const dir = mkdtempSync(join(tmpdir(), "isthmus-world-"));
  chmodSync(dir, 0o755);
  const fleet = testFleet(dir, fleetDomain);
  const pods = [true, true, false, true, false].map((redirected) => ({ redirected }));
  const network: Network = await openNetwork(pods);
  const member = (index: number, identity: readonly [string, string, string]) => {
    const own = join(dir, identity.join("-"));
    mkdirSync(own);
    const pod = network.pods[index];
    if (pod === undefined) throw new Error(`no pod ${index}`);
    const trust = fleet.svid(...identity);
    writeFileSync(join(own, "chain.pem"), trust.chainPem);
    writeFileSync(join(own, "key.pem"), trust.keyPem);
    const [cluster, namespace, account] = identity;
    const labels = { cluster, namespace, kind: "Deployment", name: `${account}-app`, pod: `${account}-app-0` };
    return new Member({ pod, dir: own, envoy, trust, labels });
  };
  const front = member(0, ["east", "shop", "front"]);
  const cartEast = member(1, ["east", "shop", "cart"]);
  const gatewayWest = member(2, ["west", "isthmus-system", "isthmus-gateway"]);
  const cartWest = member(3, ["west", "shop", "cart"]);
  const outsider = member(4, ["south", "shop", "outsider"]);
  const all = [front, cartEast, gatewayWest, cartWest, outsider];
  const stop = async (): Promise<void> => {
    await Promise.all(all.map((one) => one.stop()));
    await network.stop();
    rmSync(dir, { recursive: true, force: true });
  };
  return { front, cartEast, gatewayWest, cartWest, outsider, fleet, stop };
}

export interface LoadResult {
  readonly ok: number;
  readonly failed: number;
  readonly byName: Readonly<Record<string, number>>;
  readonly slowestMs: number;
  readonly connections: number;
  readonly errors: readonly string[];
}

/** Runs load from `caller` while `happening` happens; what came back. */
export async function underLoad(caller: Member, url: string, happening: () => Promise<void>): Promise<LoadResult> {
  const program = [process.execPath, join(import.meta.dirname, "load.mjs"), url, "4"];
  const load = start(caller.pod.inside(program));
  try {
    await eventually("load runs", () => Promise.resolve(load.log().includes("started") ? true : undefined));
    await happening();
    load.closeInput();
    const text = await eventually("load says what came back", () => Promise.resolve(/^\{.*\}$/m.exec(load.log())?.[0]));
    return JSON.parse(text) as LoadResult;
  } finally {
    await load.stop();
  }
}

/** Waits until the caller's sidecar has answered so many more requests. */
export async function served(caller: Member, more: number): Promise<void> {
  const count = () => caller.stat("http.outbound.downstream_rq_completed");
  const enough = (await count()) + more;
  await eventually(`${more} requests are served`, async () => ((await count()) >= enough ? true : undefined));
}
