// Pods without Kubernetes: network namespaces on one switch, redirected as the init container redirects. Nothing is named and nothing
// outlives the test: a namespace lives as long as its holder process, and holders die with the test.
import { execFileSync } from "node:child_process";
import { eventually, start, type Running } from "./envoy.ts";

export interface Pod {
  readonly address: string;
  /** Command prefix that runs a program inside the pod, as the application (root) or as the proxy (1337, exempt from the redirect). */
  inside(program: readonly string[], as?: "application" | "proxy"): readonly string[];
}

export interface Network {
  readonly pods: readonly Pod[];
  stop(): Promise<void>;
}

/** Why this machine cannot host it, or undefined. */
export function networkMissing(): string | undefined {
  if (process.getuid?.() !== 0) return "not root: network namespaces and redirects need it";
  try {
    execFileSync("unshare", ["-n", "iptables", "-t", "nat", "-L"], { stdio: "ignore" });
    return undefined;
  } catch {
    return "no network namespaces with iptables nat here";
  }
}

async function holder(): Promise<Running> {
  const running = start(["unshare", "-n", "sh", "-c", "echo ready; exec sleep infinity"]);
  await eventually("a network namespace", () => Promise.resolve(running.log().includes("ready") ? true : undefined));
  return running;
}

function run(pid: number, script: string): void {
  execFileSync("nsenter", ["-t", String(pid), "-n", "sh", "-ec", script], { stdio: ["ignore", "ignore", "pipe"] });
}

/** As deploy's init container: everything out to 15001, everything in to 15003, the proxy itself and loopback exempt. */
const redirect = `
iptables -t nat -A OUTPUT -p tcp -m owner --uid-owner 1337 -j RETURN
iptables -t nat -A OUTPUT -o lo -j RETURN
iptables -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001
iptables -t nat -A PREROUTING -p tcp -j REDIRECT --to-ports 15003
`;

/** One pod per entry; `redirected` false makes a machine without a sidecar. */
export async function openNetwork(pods: readonly { readonly redirected: boolean }[]): Promise<Network> {
  const [wire, holders] = await Promise.all([holder(), Promise.all(pods.map(holder))]);
  run(wire.pid, "ip link add switch type bridge; ip link set switch up");
  const made = holders.map((running, index): Pod => {
    const address = `10.1.0.${index + 1}`;
    run(
      wire.pid,
      `ip link add port${index} type veth peer name eth0 netns ${running.pid}; ip link set port${index} master switch up`,
    );
    run(
      running.pid,
      `ip link set lo up; ip addr add ${address}/24 dev eth0; ip link set eth0 up; ip route add default dev eth0`,
    );
    if (pods[index]?.redirected === true) run(running.pid, redirect);
    const enter = ["nsenter", "-t", String(running.pid), "-n"];
    const asProxy = ["setpriv", "--reuid", "1337", "--regid", "1337", "--clear-groups", "--pdeathsig", "KILL"];
    return {
      address,
      inside: (program, as = "application") => [...enter, ...(as === "proxy" ? asProxy : []), ...program],
    };
  });
  const stop = async (): Promise<void> => {
    await Promise.all([wire, ...holders].map((running) => running.stop()));
  };
  return { pods: made, stop };
}
