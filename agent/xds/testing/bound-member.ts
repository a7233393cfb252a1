// A workload of a site in a test: its sidecar as a process on loopback, started from the very files that a credential folder leads to,
// but fed from files instead of an agent. Needs neither root nor namespaces.
import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { request, type Agent } from "node:http";
import { join } from "node:path";
import type { BoundInput } from "../../ir/inputs.ts";
import { boundProxy } from "../bound-proxy.ts";
import type { ProxyTrust } from "../proxy.ts";
import type { JsonMessage } from "../resource.ts";
import { translate } from "../translate.ts";
import { eventually, start, type Running } from "./envoy.ts";
import { fedFromFiles, writeResources } from "./file-xds.ts";
import { fleetDomain, readCase } from "./mesh-case.ts";

export interface Answer {
  readonly status: number;
  readonly text: string;
}

export class BoundMember {
  readonly name: string;
  readonly bound: BoundInput;
  readonly dir: string;
  readonly #envoy: string;
  readonly #trust: ProxyTrust;
  adminSocketPath = "";
  proxy: Running | undefined;

  constructor(input: { name: string; bound: BoundInput; dir: string; envoy: string; trust: ProxyTrust }) {
    this.name = input.name;
    this.bound = input.bound;
    this.dir = join(input.dir, input.name);
    this.#envoy = input.envoy;
    this.#trust = input.trust;
    mkdirSync(this.dir);
  }

  /** Gives the proxy the resources of this case, which names no proxy; a running one takes them over. */
  configure(text: string, more: Partial<BoundInput> = {}): void {
    const workload = { kind: "sidecar", namespace: "shop", serviceAccount: this.name, workloadKind: "Workload" };
    const inbound = this.bound.applications.map(({ port }) => ({ port, protocol: port === 8080 ? "http" : "tcp" }));
    const proxy = { ...workload, workloadName: this.name, inbound, bound: { ...this.bound, ...more } };
    const { ir, proxy: read, settings } = readCase(`${text}\nproxy: ${JSON.stringify(proxy)}`);
    writeResources(this.dir, translate(ir, read, this.#trust, settings));
  }

  /** `wrap` makes the proxy's command another one, such as one in a control group. */
  async startProxy(wrap = (command: readonly string[]) => command): Promise<void> {
    const agent = { host: "127.0.0.1", port: 15128 };
    const locality = { region: "", zone: "" };
    const facts = { cluster: "east", fleetDomain, namespace: "shop", name: this.name, agent, locality, sidecar: {} };
    const made = boundProxy(facts, { credentialDir: this.dir, configDir: this.dir });
    if (!made.ok) throw new Error(JSON.stringify(made.error));
    const { files, arguments: given, environment, adminSocketPath } = made.value;
    this.adminSocketPath = adminSocketPath;
    const bootstrap = JSON.parse(files["envoy.json"] ?? "") as JsonMessage;
    writeFileSync(join(this.dir, "envoy.json"), JSON.stringify(fedFromFiles(bootstrap, this.dir)));
    const running = start(wrap([this.#envoy, ...given]), environment);
    this.proxy = running;
    await eventually(`the sidecar of ${this.name} is ready`, async () => {
      const warming = await this.stat("listener_manager.total_listeners_warming");
      return warming === 0 && (await this.admin("/ready")) === "LIVE\n" ? true : undefined;
    }).catch((error: unknown) => {
      throw new Error(running.log(), { cause: error });
    });
  }

  admin(path: string): Promise<string> {
    return this.#run(["--unix-socket", this.adminSocketPath, `http://admin${path}`]).then(({ text }) => text);
  }

  async stat(name: string): Promise<number> {
    const text = await this.admin(`/stats?filter=^${name}$`);
    return Number(text.split(": ")[1] ?? "-1");
  }

  /** As an application with HTTP_PROXY set. */
  byProxy(...args: readonly string[]): Promise<Answer> {
    const { address, port } = this.bound.httpProxy;
    return this.#run(["-x", `http://${address}:${port}`, ...args]);
  }

  /** As an application that knows of no proxy. */
  directly(...args: readonly string[]): Promise<Answer> {
    return this.#run(["--noproxy", "*", ...args]);
  }

  #run(args: readonly string[]): Promise<Answer> {
    return new Promise((resolve) => {
      execFile("curl", ["-s", "-m", "20", "-w", "\n%{http_code}", ...args], (_error, stdout) => {
        const end = stdout.lastIndexOf("\n");
        resolve({ status: Number(stdout.slice(end + 1)), text: stdout.slice(0, end) });
      });
    });
  }

  /** One request by the HTTP proxy over the connections of `agent`. */
  requestBy(agent: Agent, url: string): Promise<Answer> {
    const { address: host, port } = this.bound.httpProxy;
    return new Promise((resolve, reject) => {
      const sent = request({ agent, host, port, path: url, headers: { host: new URL(url).host } }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      });
      sent.on("error", reject).end();
    });
  }
}
