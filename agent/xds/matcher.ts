// filter_chain_matcher of the outbound listener: destination IP -> port -> filter chain, and one default for the rest.
// Envoy's own filter_chain_match would look at the port first and never fall back (envoy-facts 7): unknown addresses on a
// port that some service uses would be reset instead of answered. Called by listeners.
import { fixedNames } from "./names.ts";
import { remembered } from "./remembered.ts";
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

/** Made once for all callers, not once for each: of a mesh with thousands of services it is most of what a listener holds. */
export interface Addresses {
  /** All of them, to be compared quickly. */
  readonly text: string;
  readonly ranges: readonly JsonMessage[];
}

export function addressesOf(list: readonly string[]): Addresses {
  return { text: list.join(" "), ranges: list.map(cidr) };
}

/** What happens to a destination that is none of the services: leave the mesh unchanged, or be refused. */
export type OutboundDefault = "passthrough" | "deny";

export interface MatcherInput {
  readonly destinations: readonly Destination[];
  /** Addresses and ranges never passed through in plaintext; those that are a destination too are matched before. */
  readonly refused: Addresses;
  readonly outboundDefault: OutboundDefault;
}

/** Two headless services may hold one pod: the first by name speaks for the port. */
function byAddress(destinations: readonly Destination[]): ReadonlyMap<string, readonly Destination[]> {
  const found = new Map<string, Destination[]>();
  for (const destination of destinations) {
    for (const address of destination.addresses) {
      const known = found.get(address);
      if (known === undefined) found.set(address, [destination]);
      else if (known.every(({ port }) => port !== destination.port)) known.push(destination);
    }
  }
  return found;
}

/** The same tree for every caller that may dial the same ports of an address. */
function portTree(destinations: readonly Destination[]): JsonMessage {
  const [first] = destinations;
  if (first === undefined) return deny;
  const key = `ports|${destinations.map(({ port, chain: name }) => `${port} ${name}`).join("|")}`;
  return remembered(first, key, () => newPortTree(destinations));
}

function newPortTree(destinations: readonly Destination[]): JsonMessage {
  const map = Object.fromEntries(destinations.map(({ port, chain: name }) => [String(port), chain(name)]));
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
  if (refused.ranges.length === 0) return passthrough;
  const matcher = extension("refused", "xds.type.matcher.v3.IPMatcher", {
    range_matchers: [{ ranges: refused.ranges, on_match: deny }],
  });
  return { matcher: { matcher_tree: tree("DestinationIPInput", { custom_match: matcher }), on_no_match: passthrough } };
}

export function outboundMatcher(input: MatcherInput): JsonMessage {
  const addresses = byAddress(input.destinations);
  const fallback = otherwise(input);
  if (addresses.size === 0) {
    // a matcher needs one entry: the unspecified address is nobody's destination
    const map = { "0.0.0.0": deny };
    return { matcher_tree: tree("DestinationIPInput", { exact_match_map: { map } }), on_no_match: fallback };
  }
  const map = Object.fromEntries([...addresses].map(([address, destinations]) => [address, portTree(destinations)]));
  return { matcher_tree: tree("DestinationIPInput", { exact_match_map: { map } }), on_no_match: fallback };
}
