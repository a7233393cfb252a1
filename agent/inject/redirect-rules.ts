// The redirect as an nftables ruleset: what an application sends over TCP goes to Envoy's outbound listener, what comes for it to
// the inbound one. Text for the init image, whose one argument it is (`nft '<rules>'`). It must let pass what Envoy itself sends.
// One table of family inet: IPv6 is redirected like IPv4, so it is no way around the policy.
import { parseRange } from "../../shared/address-range.ts";
import { baseChain, inetTable, portSet } from "../../shared/nftables.ts";
import { proxyPorts, proxyUid, type TrafficExclusions } from "./settings.ts";

export interface RedirectOptions {
  readonly exclusions: TrafficExclusions;
  /** Envoy's own listeners for the outside: readiness, metrics and the rewritten probes. */
  readonly openPorts: readonly number[];
}

/** One rule for each range: a set with overlapping ranges would be refused as a whole. */
function rangeRules(ranges: readonly string[], verdict: string): readonly string[] {
  return ranges.map((text) => {
    const parsed = parseRange(text);
    if (parsed === undefined) throw new Error(`not an address range: ${text}`);
    return `${parsed.family} daddr ${parsed.range} ${verdict}`;
  });
}

function portRules(ports: readonly number[]): readonly string[] {
  return ports.length === 0 ? [] : [`tcp dport ${portSet(ports)} accept`];
}

/**
 * Envoy reaching its own pod through a service: such a packet never enters by the interface, so it is turned to the inbound
 * listener here. To loopback it speaks as the application's server side.
 */
function ownPodRules(passed: readonly number[]): readonly string[] {
  const inbound = `tcp dport != ${portSet(passed)} redirect to :${proxyPorts.inbound}`;
  return ["ip daddr != 127.0.0.0/8", "ip6 daddr != ::1"].map(
    (elsewhere) => `meta skuid ${proxyUid} oifname "lo" ${elsewhere} ${inbound}`,
  );
}

function outputRules({ exclusions, openPorts }: RedirectOptions): readonly string[] {
  const toProxy = `meta l4proto tcp redirect to :${proxyPorts.outbound}`;
  const only = exclusions.outboundOnlyRanges;
  return [
    "meta l4proto != tcp accept",
    ...ownPodRules([...openPorts, ...exclusions.inboundPorts]),
    `meta skuid ${proxyUid} accept`,
    // loopback, and an application that calls its own pod by address: it speaks to itself
    'oifname "lo" accept',
    ...portRules(exclusions.outboundPorts),
    ...rangeRules(exclusions.outboundRanges, "accept"),
    ...(only.length === 0 ? [toProxy] : rangeRules(only, toProxy)),
  ];
}

function inputRules({ exclusions, openPorts }: RedirectOptions): readonly string[] {
  return [
    "meta l4proto != tcp accept",
    ...portRules([...openPorts, ...exclusions.inboundPorts]),
    `meta l4proto tcp redirect to :${proxyPorts.inbound}`,
  ];
}

/** Replaces what an earlier run left: the init container may be run again (node restart). */
export function redirectRules(options: RedirectOptions): string {
  return inetTable("isthmus", [
    baseChain("output", "type nat hook output", outputRules(options)),
    baseChain("prerouting", "type nat hook prerouting", inputRules(options)),
  ]);
}
