// A pod without Kubernetes: a network namespace with our redirect and a real Envoy whose two listeners say what they saw, a second
// namespace as the world outside. For redirect-rules.feature.test.ts. Everything ends with its holder process, and that with the test.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually, start, type Running } from "../../xds/testing/envoy.ts";

export const podAddress = { v4: "10.1.0.1", v6: "fd01::1" } as const;
export const outsideAddress = { v4: "10.1.0.2", v6: "fd01::2" } as const;

/** Who connects: the application in the pod, Envoy's user in the pod, or another machine. */
export type Caller = "application" | "proxy" | "outside";

export interface Seen {
  /** Body: `application` or `outside` from the plain servers, the listener's name from Envoy. */
  readonly answeredBy: string;
  /** What Envoy recovered; empty from a plain server. */
  readonly originalDestination: string;
}

export interface RedirectedPod {
  apply(rules: string): void;
  call(caller: Caller, host: string, port: number): Seen;
  stop(): Promise<void>;
}

/** Why this machine cannot host it, or undefined. */
export function redirectMissing(): string | undefined {
  if (process.getuid?.() !== 0) return "not root: network namespaces and redirects need it";
  try {
    execFileSync(
      "unshare",
      ["-n", "nft", "add table inet t; add chain inet t c { type nat hook output priority -100; }"],
      {
        stdio: "ignore",
      },
    );
    return undefined;
  } catch {
    return "no network namespaces with nftables nat here";
  }
}

function listener(name: string, port: number): object {
  return {
    name,
    address: { socket_address: { address: "::", ipv4_compat: true, port_value: port } },
    listener_filters: [
      {
        name: "envoy.filters.listener.original_dst",
        typed_config: { "@type": "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst" },
      },
    ],
    filter_chains: [
      {
        filters: [
          {
            name: "envoy.filters.network.http_connection_manager",
            typed_config: {
              "@type":
                "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
              stat_prefix: name,
              http_filters: [
                {
                  name: "envoy.filters.http.router",
                  typed_config: { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                },
              ],
              route_config: {
                response_headers_to_add: [
                  { header: { key: "x-original-destination", value: "%DOWNSTREAM_LOCAL_ADDRESS%" } },
                ],
                virtual_hosts: [
                  {
                    name,
                    domains: ["*"],
                    routes: [
                      { match: { prefix: "/" }, direct_response: { status: 200, body: { inline_string: name } } },
                    ],
                  },
                ],
              },
            },
          },
        ],
      },
    ],
  };
}

/** A plain server on several ports that says who it is; one line on standard output once it listens on all. */
const server = `
const [name, ...ports] = process.argv.slice(1);
let left = ports.length;
for (const port of ports) require("node:http").createServer((request, response) => response.end(name))
  .listen({ port: Number(port), host: "::" }, () => --left === 0 && console.log("ready"));
`;

const client = `
const [host, port] = process.argv.slice(1);
const request = require("node:http").get({ host, port, timeout: 20000 }, (response) => {
  let body = "";
  response.on("data", (chunk) => (body += chunk));
  response.on("end", () => console.log(JSON.stringify({ answeredBy: body, originalDestination: response.headers["x-original-destination"] ?? "" })));
});
request.on("timeout", () => request.destroy(new Error("timeout")));
request.on("error", (error) => console.log(JSON.stringify({ answeredBy: error.code ?? error.message, originalDestination: "" })));
`;

async function ready(running: Running, what: string): Promise<Running> {
  await eventually(`${what} to be ready`, () => Promise.resolve(running.log().includes("ready") ? true : undefined));
  return running;
}

function holder(): Promise<Running> {
  return ready(start(["unshare", "-n", "sh", "-c", "echo ready; exec sleep infinity"]), "a network namespace");
}

function enter(space: Running): readonly string[] {
  return ["nsenter", "-t", String(space.pid), "-n"];
}

function run(command: readonly string[]): string {
  const [program = "", ...rest] = command;
  return execFileSync(program, rest, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

function connect(pod: Running, outside: Running): void {
  run([
    ...enter(pod),
    "ip",
    "link",
    "add",
    "eth0",
    "type",
    "veth",
    "peer",
    "name",
    "eth0",
    "netns",
    String(outside.pid),
  ]);
  for (const [space, { v4, v6 }] of [[pod, podAddress] as const, [outside, outsideAddress] as const]) {
    const commands = [
      "link set lo up",
      `addr add ${v4}/24 dev eth0`,
      // without duplicate address detection, which takes a second
      `addr add ${v6}/64 dev eth0 nodad`,
      "link set eth0 up",
    ];
    for (const command of commands) run([...enter(space), "ip", ...command.split(" ")]);
  }
}

const asProxy = ["setpriv", "--reuid", "1337", "--regid", "1337", "--clear-groups"];
/** What the init container has: root, and this one capability. */
const asInit = ["setpriv", "--bounding-set", "-all,+net_admin", "--inh-caps", "-all,+net_admin"];

export async function openRedirectedPod(envoyPath: string): Promise<RedirectedPod> {
  const folder = mkdtempSync(join(tmpdir(), "isthmus-redirect-"));
  const [pod, outside] = await Promise.all([holder(), holder()]);
  connect(pod, outside);
  const listeners = [
    listener("outbound", 15001),
    listener("inbound", 15003),
    listener("readiness", 15021),
    listener("probe", 15901),
  ];
  const config = join(folder, "envoy.json");
  writeFileSync(config, JSON.stringify({ static_resources: { listeners } }), { mode: 0o644 });
  run(["chmod", "755", folder]);
  const envoy = start([
    ...enter(pod),
    ...asProxy,
    ...[envoyPath, "--config-path", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "info"],
  ]);
  const servers = await Promise.all([
    ready(start([...enter(pod), process.execPath, "-e", server, "application", "8080", "8081"]), "the application"),
    ready(start([...enter(outside), process.execPath, "-e", server, "outside", "9090", "9091"]), "the outside"),
  ]);
  await eventually("Envoy to start", () =>
    Promise.resolve(envoy.log().includes("starting main dispatch loop") ? true : undefined),
  );
  const prefixes: Readonly<Record<Caller, readonly string[]>> = {
    application: enter(pod),
    proxy: [...enter(pod), ...asProxy],
    outside: enter(outside),
  };
  return {
    apply: (rules) => void run([...enter(pod), ...asInit, "nft", rules]),
    call: (caller, host, port) =>
      JSON.parse(run([...prefixes[caller], process.execPath, "-e", client, host, String(port)])) as Seen,
    stop: async () => {
      await Promise.all([envoy, ...servers].map((running) => running.stop()));
      await Promise.all([pod.stop(), outside.stop()]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
