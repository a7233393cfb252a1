// Network namespaces of a run and the links between them. The fabric is a router with one point-to-point link per
// cluster, one to the hub and one to the host; its nftables rules are the isolation (rules.ts).
//
//   host ── fabric ─┬─ east   (node: pods and services behind it)
//                   ├─ west
//                   ├─ north
//                   └─ hub
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { runCommand } from "../machine/command.ts";
import { netnsPath, type RunPaths } from "../run/paths.ts";
import type { HostRoute, Link, RunNetwork } from "./addresses.ts";
import { fabricRules } from "./rules.ts";

/** Runs a program in a network namespace. Not `ip netns exec`: that remounts /sys, and the kubelet dies of it. */
export function inNetns(netns: string, argv: readonly string[]): readonly string[] {
  return ["nsenter", `--net=${netns}`, "--", ...argv];
}

async function run(argv: readonly string[], input?: string): Promise<string> {
  const [command = "", ...args] = argv;
  return runCommand(command, args, input === undefined ? {} : { input });
}

/** A namespace without a process, pinned by a file: it lives until the file is unmounted. */
async function makeNetns(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, "");
  await runCommand("unshare", [`--net=${path}`, "ip", "link", "set", "lo", "up"]);
}

/** One shell for many settings: starting a process per setting would cost more than the settings. */
async function shellIn(netns: string, lines: readonly string[]): Promise<void> {
  await run(inNetns(netns, ["sh", "-e"]), lines.join("\n"));
}

interface Wire {
  readonly fabricInterface: string;
  readonly link: Link;
  readonly peerNetns: string;
}

function wireLines(wire: Wire): readonly string[] {
  const { fabricInterface: name, link } = wire;
  return [
    `ip link add ${name} type veth peer name eth0 netns ${wire.peerNetns}`,
    `ip addr add ${link.fabric}/${link.prefix} dev ${name}`,
    `ip link set ${name} up`,
  ];
}

function peerLines(link: Link): readonly string[] {
  return [
    `ip addr add ${link.peer}/${link.prefix} dev eth0`,
    "ip link set eth0 up",
    `ip route add default via ${link.fabric}`,
  ];
}

/** Settings of a node's own namespace; `bridge` is not needed, since pods hang on point-to-point links (decision 0010). */
const nodeSettings = [
  "sysctl -qw net.ipv4.ip_forward=1",
  "sysctl -qw net.ipv4.conf.all.rp_filter=0",
  "sysctl -qw net.ipv4.conf.default.rp_filter=0",
];

const fabricSettings = [
  "sysctl -qw net.ipv4.ip_forward=1",
  // an address of a pool that no Service has comes back on the link it came from: no redirect, the rules refuse it
  "sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0",
  // one refusal per refused packet; the default of one per second turns a refusal into a time-out
  "sysctl -qw net.ipv4.icmp_ratelimit=0",
];

export async function makeFabric(paths: RunPaths, network: RunNetwork): Promise<void> {
  const fabric = netnsPath(paths, "fabric");
  const hub = netnsPath(paths, "hub");
  const nodes = network.clusters.map((cluster) => ({ cluster, netns: netnsPath(paths, cluster.name) }));
  await Promise.all([fabric, hub, ...nodes.map((node) => node.netns)].map(makeNetns));
  await shellIn(fabric, [
    ...fabricSettings,
    ...wireLines({ fabricInterface: "hub", link: network.hubLink, peerNetns: hub }),
    ...nodes.flatMap(({ cluster, netns }) => [
      ...wireLines({ fabricInterface: cluster.fabricInterface, link: cluster.link, peerNetns: netns }),
      `ip route add ${cluster.lbPool} via ${cluster.nodeAddress}`,
    ]),
  ]);
  await run(inNetns(fabric, ["nft", "-f", "-"]), fabricRules(network));
  await Promise.all([
    shellIn(hub, peerLines(network.hubLink)),
    ...nodes.map(({ cluster, netns }) => shellIn(netns, [...peerLines(cluster.link), ...nodeSettings])),
  ]);
}

/** The host's link and route: the only two things that a run puts into the host's network. */
export async function linkHost(paths: RunPaths, network: RunNetwork): Promise<void> {
  const { hostLink, subnet } = network;
  const fabric = netnsPath(paths, "fabric");
  const name = paths.hostInterface;
  await run(["ip", "link", "add", name, "type", "veth", "peer", "name", "host", "netns", fabric]);
  await shellIn(fabric, [`ip addr add ${hostLink.fabric}/${hostLink.prefix} dev host`, "ip link set host up"]);
  await run(["ip", "addr", "add", `${hostLink.peer}/${hostLink.prefix}`, "dev", name]);
  await run(["ip", "link", "set", name, "up"]);
  await run(["ip", "route", "add", subnet, "via", hostLink.fabric, "dev", name]);
}

export async function loadRules(netns: string, rules: string): Promise<void> {
  await run(inNetns(netns, ["nft", "-f", "-"]), rules);
}

export async function hostRoutes(): Promise<readonly HostRoute[]> {
  const routes = JSON.parse(await runCommand("ip", ["-4", "-json", "route", "show", "table", "all"])) as readonly {
    dst: string;
    dev?: string;
    table?: string;
  }[];
  return routes
    .filter((route) => route.table !== "local")
    .map((route) => ({ destination: route.dst, device: route.dev ?? "no device" }));
}
