// Which gateway addresses a member may publish: IP literals that lead to another machine (threat model: SSRF through a
// compromised agent). Pure, so that the hub (at publish) and the agent (before Envoy) ask the same question.
import { ok, rejected, type Result } from "../result.ts";

export interface AddressRules {
  /** Sites on one machine talk over loopback; every other fleet refuses it. */
  readonly allowLoopback: boolean;
}

/** The eight groups of an IPv6 literal, or undefined. A trailing dotted quad counts as two groups. */
function ipv6Groups(text: string): readonly number[] | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half) => (half === "" ? [] : expandQuad(half.split(":"))));
  if (head === undefined || (tail === undefined && halves.length === 2)) return undefined;
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...Array<string>(missing).fill("0"), ...(tail ?? [])];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  return groups.map((group) => Number.parseInt(group, 16));
}

function expandQuad(groups: readonly string[]): readonly string[] {
  const last = groups.at(-1) ?? "";
  const octets = ipv4Octets(last);
  if (octets === undefined) return groups;
  const [a = 0, b = 0, c = 0, d = 0] = octets;
  return [...groups.slice(0, -1), (a * 256 + b).toString(16), (c * 256 + d).toString(16)];
}

/** Four decimal octets without leading zeros: `0177.0.0.1`, `127.1` and `2130706433` are read differently by different stacks. */
function ipv4Octets(text: string): readonly number[] | undefined {
  if (!/^(?:(?:0|[1-9]\d{0,2})\.){3}(?:0|[1-9]\d{0,2})$/.test(text)) return undefined;
  const octets = text.split(".").map(Number);
  return octets.every((octet) => octet <= 255) ? octets : undefined;
}

type Scope = "unspecified" | "loopback" | "link-local" | "multicast" | "broadcast" | "routable";

const ipv4Ranges: readonly { readonly scope: Scope; readonly from: number; readonly to: number }[] = [
  { scope: "unspecified", from: 0x00000000, to: 0x00ffffff },
  { scope: "loopback", from: 0x7f000000, to: 0x7fffffff },
  { scope: "link-local", from: 0xa9fe0000, to: 0xa9feffff },
  { scope: "multicast", from: 0xe0000000, to: 0xefffffff },
  { scope: "broadcast", from: 0xffffffff, to: 0xffffffff },
];

function ipv4Scope(octets: readonly number[]): Scope {
  const address = octets.reduce((sum, octet) => sum * 256 + octet, 0);
  return ipv4Ranges.find(({ from, to }) => address >= from && address <= to)?.scope ?? "routable";
}

const embeddedPrefixes: readonly (readonly number[])[] = [
  [0, 0, 0, 0, 0, 0xffff], // v4-mapped
  [0, 0, 0, 0, 0, 0], // v4-compatible, deprecated
  [0, 0, 0, 0, 0xffff, 0], // v4-translated (RFC 2765)
  [0x64, 0xff9b, 0, 0, 0, 0], // NAT64 (RFC 6052)
];

function ipv6Scope(groups: readonly number[]): Scope {
  const [first = 0] = groups;
  const tail = groups.slice(6);
  const [high = 0, low = 0] = tail;
  const plain = groups.slice(0, 7).every((group) => group === 0);
  if (plain && low <= 1) return low === 0 ? "unspecified" : "loopback";
  if (embeddedPrefixes.some((prefix) => prefix.every((group, at) => groups[at] === group))) {
    return ipv4Scope([high >> 8, high & 255, low >> 8, low & 255]);
  }
  if ((first & 0xff00) === 0xff00) return "multicast";
  // fe80::/10, and fec0::/10, the retired site-local range
  if ((first & 0xffc0) === 0xfe80 || (first & 0xffc0) === 0xfec0) return "link-local";
  return "routable";
}

/** Why `host` may not be a gateway, or the host itself. */
export function checkGatewayHost(host: string, rules: AddressRules, field?: string): Result<string> {
  const octets = ipv4Octets(host);
  const groups = octets === undefined && host.length <= 45 ? ipv6Groups(host) : undefined;
  if (octets === undefined && groups === undefined) {
    return rejected("ISTHMUS_GATEWAY_ADDRESS", `"${host.slice(0, 64)}" is not an IP literal`, field);
  }
  const scope = octets === undefined ? ipv6Scope(groups ?? []) : ipv4Scope(octets);
  if (scope === "routable" || (scope === "loopback" && rules.allowLoopback)) return ok(host);
  return rejected("ISTHMUS_GATEWAY_ADDRESS", `${host} is a ${scope} address; no other member can reach it`, field);
}
