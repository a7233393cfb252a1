// filter_chain_matcher of the outbound listener: destination IP -> port -> filter chain, and one default for the rest.
// Envoy's own filter_chain_match would look at the port first and never fall back (envoy-facts 7): unknown addresses on a
// port that some service uses would be reset instead of answered. Called by listeners.
import { fixedNames } from "./names.ts";
import type { JsonMessage } from "./resource.ts";
import { extension } from "./typed-config.ts";

const networkInputs = "envoy.extensions.matching.common_inputs.network.v3";

/** As http_inspector reports it, quoted. */
const httpVersions = ["'http/1.0'", "'http/1.1'", "'h2c'"];

function chain(name: string): JsonMessage {
  return { action: extension(name, "google.protobuf.StringValue", { value: name }) };
}

function tree(
  input: "DestinationIPInput" | "DestinationPortInput" | "ApplicationProtocolInput",
  rest: JsonMessage,
): JsonMessage {
  return { input: extension(input, `${networkInputs}.${input}`), ...rest };
}

/** 403 where it is HTTP; anything else finds no chain and is closed. */
const deny: JsonMessage = {
  matcher: {
    matcher_tree: tree("ApplicationProtocolInput", {
      exact_match_map: {
        map: Object.fromEntries(httpVersions.map((version) => [version, chain(fixedNames.denyHttp)])),
      },
    }),
  },
};

/** A service port: every address that leads to it, and its chain. */
export interface Destination {
  readonly addresses: readonly string[];
  readonly port: number;
  readonly chain: string;
}

/** What happens to a destination that is none of the services: leave the mesh unchanged, or be refused. */
export type OutboundDefault = "passthrough" | "deny";

export interface MatcherInput {
  readonly destinations: readonly Destination[];
  /** Addresses and ranges never passed through in plaintext; those that are a destination too are matched before. */
  readonly refused: readonly string[];
  readonly outboundDefault: OutboundDefault;
}

function portsByAddress(destinations: readonly Destination[]): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const byAddress = new Map<string, Map<string, string>>();
  for (const { addresses, port, chain: name } of destinations) {
    for (const address of addresses) {
      const ports = byAddress.get(address) ?? new Map<string, string>();
      // two headless services may hold one pod: the first by name speaks for the port
      if (!ports.has(String(port))) ports.set(String(port), name);
      byAddress.set(address, ports);
    }
  }
  return byAddress;
}

function portTree(ports: ReadonlyMap<string, string>): JsonMessage {
  const map = Object.fromEntries([...ports].map(([port, name]) => [port, chain(name)]));
  // a service has no other port than those it declares
  return { matcher: { matcher_tree: tree("DestinationPortInput", { exact_match_map: { map } }), on_no_match: deny } };
}

/** An address, or a range with its length. */
function cidr(text: string): JsonMessage {
  const [address = "", length] = text.split("/");
  const whole = address.includes(":") ? 128 : 32;
  return { address_prefix: address, prefix_len: length === undefined ? whole : Number(length) };
}

function otherwise({ refused, outboundDefault }: MatcherInput): JsonMessage {
  if (outboundDefault === "deny") return deny;
  const passthrough = chain(fixedNames.passthrough);
  if (refused.length === 0) return passthrough;
  const matcher = extension("refused", "xds.type.matcher.v3.IPMatcher", {
    range_matchers: [{ ranges: refused.map(cidr), on_match: deny }],
  });
  return { matcher: { matcher_tree: tree("DestinationIPInput", { custom_match: matcher }), on_no_match: passthrough } };
}

export function outboundMatcher(input: MatcherInput): JsonMessage {
  const addresses = portsByAddress(input.destinations);
  const fallback = otherwise(input);
  if (addresses.size === 0) {
    // a matcher needs one entry: the unspecified address is nobody's destination
    const map = { "0.0.0.0": deny };
    return { matcher_tree: tree("DestinationIPInput", { exact_match_map: { map } }), on_no_match: fallback };
  }
  const map = Object.fromEntries([...addresses].map(([address, ports]) => [address, portTree(ports)]));
  return { matcher_tree: tree("DestinationIPInput", { exact_match_map: { map } }), on_no_match: fallback };
}
