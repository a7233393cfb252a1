// The nftables rules as text: who reaches whom between clusters, and the faults a test has put in. Pure; fabric.ts and
// faults/ load them. A ruleset is replaced in one transaction, so no packet sees half of it.
import type { RunNetwork } from "./addresses.ts";

/**
 * The default layout. Clusters have equal pod and service networks; another cluster sees only load balancer addresses
 * and the hub. The host (kubectl, helm, the CLI) reaches everything, nothing reaches the host unasked.
 */
export function fabricRules(network: RunNetwork): string {
  const { clusters, hubAddress } = network;
  const others = clusters.flatMap((from) => {
    const pools = clusters.filter((to) => to !== from).map((to) => to.lbPool);
    return pools.length === 0
      ? []
      : [`    iifname "${from.fabricInterface}" ip daddr { ${pools.join(", ")} } counter accept`];
  });
  const allPools = clusters.map((cluster) => cluster.lbPool).join(", ");
  return `table inet layout
delete table inet layout
table inet layout {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "host" accept
    iifname "link*" ip daddr ${hubAddress} counter accept
${others.join("\n")}
    iifname "hub" ip daddr { ${allPools} } counter accept
    meta l4proto tcp counter reject with tcp reset
    counter reject with icmpx type admin-prohibited
  }
  chain input {
    type filter hook input priority filter; policy accept;
    iifname { "link*", "hub" } ip protocol tcp reject with tcp reset
  }
}
`;
}

/** `cut` answers with a reset (or an ICMP error), as a closed port does; `blackhole` answers with nothing. */
export type FaultKind = "cut" | "blackhole";

/** A place in the network: an interface of the router that applies the rule, or an address (a /N too). */
export type FaultEnd =
  { readonly interface: string } | { readonly address: string; readonly port?: number } | { readonly any: true };

export interface Fault {
  readonly kind: FaultKind;
  readonly ends: readonly [FaultEnd, FaultEnd];
}

function match(end: FaultEnd, side: "source" | "destination"): string {
  if ("any" in end) return "";
  if ("interface" in end) return `${side === "source" ? "iifname" : "oifname"} "${end.interface}" `;
  const address = `ip ${side === "source" ? "saddr" : "daddr"} ${end.address} `;
  const port = end.port === undefined ? "" : `tcp ${side === "source" ? "sport" : "dport"} ${end.port} `;
  return address + port;
}

/** Both directions: a fault of a link has no side from which it still works. */
function faultLines(fault: Fault): readonly string[] {
  const [a, b] = fault.ends;
  const matches = [match(a, "source") + match(b, "destination"), match(b, "source") + match(a, "destination")];
  return [...new Set(matches)].flatMap((where) =>
    fault.kind === "blackhole"
      ? [`    ${where}counter drop`]
      : [
          `    ${where}meta l4proto tcp counter reject with tcp reset`,
          `    ${where}counter reject with icmpx type host-unreachable`,
        ],
  );
}

/**
 * Rules for the listed faults and no others. They come before the layout and before "established": a fault hits open
 * connections. Forward for routed packets; input and output too, so that a node's own processes are hit.
 */
export function faultRules(faults: readonly Fault[]): string {
  const lines = faults.flatMap(faultLines).join("\n");
  const local = faults
    .filter((fault) => !fault.ends.some((end) => "interface" in end))
    .flatMap(faultLines)
    .join("\n");
  return `table inet faults
delete table inet faults
table inet faults {
  chain forward {
    type filter hook forward priority filter - 10; policy accept;
${lines}
  }
  chain input {
    type filter hook input priority filter - 10; policy accept;
${local}
  }
  chain output {
    type filter hook output priority filter - 10; policy accept;
${local}
  }
}
`;
}
