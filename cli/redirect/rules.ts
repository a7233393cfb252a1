// The redirect of one workload as an nftables ruleset: what processes of its application's control group send goes to its sidecar, and
// nobody else may use what is bound for it. Pure text, for one table of our own.
// The family is inet: where IPv6 cannot be led to the sidecar it is refused, so it is no way around the policy.
import type { BoundInput } from "../../agent/ir/inputs.ts";
import { baseChain, chain, inetTable, portSet } from "../../shared/nftables.ts";
import { groupNames } from "./group.ts";

export interface RedirectPlan {
  readonly table: string;
  /** Control group of the workload, from the root of the unified hierarchy, without a slash at its beginning. */
  readonly group: string;
  /** What the agent says of the sidecar. */
  readonly sidecar: Pick<BoundInput, "applications" | "inboundAddresses"> & {
    readonly blockStart: string;
    readonly redirect: NonNullable<BoundInput["redirect"]>;
  };
  /** Who asks after the application's health: the site's agent, by its user where it runs here, by its address elsewhere. */
  readonly agent: { readonly uid: number; readonly address: string };
  readonly dns: {
    /** On the first address of the workload's block. */
    readonly port: number;
    /** On ::1, for programs whose resolvers are asked over IPv6; undefined where the machine has no IPv6. */
    readonly portV6: number | undefined;
  };
}

/** A workload's block (agent/site/loopback-range.ts). */
const BLOCK_BITS = 20;
/**
 * Says within this machine, from the rule where a packet leaves to the rule where it comes in, that its sender may reach the application.
 * None of the bits that kube-proxy (0xc000), Cilium (0x0f00) and Calico (0xffff0000) take for themselves.
 */
const LET_IN = "0x2000";

/** The first packet decides: later ones may be the kernel's own (the last acknowledgement of a closed socket), which no group has sent. */
const opened = "ct state != new accept";

/** Replaces a table of the same name in the same transaction. */
export function redirectRules(plan: RedirectPlan): string {
  return inetTable(plan.table, [
    chain("application", applicationRules(plan)),
    baseChain("output", "type nat hook output", [`${of(plan, groupNames.application)} jump application`]),
    baseChain("guard", "type filter hook output", guardRules(plan)),
    baseChain("inbound", "type filter hook input", inboundRules(plan)),
  ]);
}

/** Matches sockets of a group and of all below it. A socket of a group that lies less deep matches nothing, not even the contrary. */
function of({ group }: RedirectPlan, below?: string): string {
  const path = below === undefined ? group : `${group}/${below}`;
  return `socket cgroupv2 level ${path.split("/").length} "${path}"`;
}

/** The first packet of a connection decides for all of it. */
function applicationRules({ sidecar, dns }: RedirectPlan): readonly string[] {
  const { redirect, blockStart } = sidecar;
  const resolver = `dnat ip to ${blockStart}:${dns.port}`;
  return [
    `meta nfproto ipv4 udp dport 53 ${resolver}`,
    `meta nfproto ipv4 tcp dport 53 ${resolver}`,
    ...(dns.portV6 === undefined
      ? []
      : ["udp", "tcp"].map((protocol) => `meta nfproto ipv6 ${protocol} dport 53 dnat ip6 to [::1]:${dns.portV6}`)),
    // an address of the site is a service's or nobody's; any other of loopback is a program's that has no sidecar
    `meta nfproto ipv4 meta l4proto tcp ip daddr ${redirect.range} dnat ip to ${redirect.address}:${redirect.port}`,
    "ip daddr 127.0.0.0/8 return",
    `meta nfproto ipv4 meta l4proto tcp dnat ip to ${redirect.address}:${redirect.port}`,
  ];
}

/** Whoever connects within a block speaks as its workload: only the workload may, and callers of the mesh where its sidecar takes them. */
function guardRules(plan: RedirectPlan): readonly string[] {
  const { blockStart, inboundAddresses, applications } = plan.sidecar;
  const taken = inboundAddresses.includes(blockStart) ? applications.map(({ port }) => port) : [];
  return [
    "meta l4proto != tcp accept",
    opened,
    ...letInRules(plan),
    `${of(plan, groupNames.application)} meta nfproto ipv6 ip6 daddr != ::1 reject with tcp reset`,
    "meta nfproto ipv6 accept",
    `ip daddr != ${blockStart}/${BLOCK_BITS} accept`,
    `${of(plan)} accept`,
    ...(taken.length === 0 ? [] : [`ip daddr ${blockStart} tcp dport ${portSet(taken)} accept`]),
    "reject with tcp reset",
  ];
}

function applicationPorts({ sidecar }: RedirectPlan): readonly number[] {
  return sidecar.applications.map(({ applicationPort }) => applicationPort);
}

/** Only here it is known who sends. */
function letInRules(plan: RedirectPlan): readonly string[] {
  const ports = applicationPorts(plan);
  if (ports.length === 0) return [];
  const { uid, address } = plan.agent;
  const senders = [of(plan), ...(isLoopback(address) ? [`meta skuid ${uid}`] : [])];
  return senders.map(
    (sender) => `oifname "lo" tcp dport ${portSet(ports)} ${sender} meta mark set meta mark or ${LET_IN}`,
  );
}

/** Only here it is known who receives. A port of the application is reached through its sidecar alone, whatever addresses it listens on. */
function inboundRules(plan: RedirectPlan): readonly string[] {
  const ports = applicationPorts(plan);
  if (ports.length === 0) return [];
  const { address } = plan.agent;
  const fromAgent = isLoopback(address) ? [] : [`${address.includes(":") ? "ip6" : "ip"} saddr ${address} accept`];
  return [
    `tcp dport != ${portSet(ports)} accept`,
    opened,
    `iifname "lo" meta mark and ${LET_IN} == ${LET_IN} accept`,
    ...fromAgent,
    `${of(plan, groupNames.application)} reject with tcp reset`,
  ];
}

function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.");
}
