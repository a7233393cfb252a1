// Addresses of a run: one /20 of 198.18.0.0/15 (RFC 2544: benchmarking between networks, never routed on the Internet).
// Pure. Inside the /20 every cluster has a /24: a point-to-point link to the fabric and the pool of its load balancers.
import { UserError } from "../../shared/errors.ts";

/** Every cluster uses the same two, on purpose: overlapping networks are the hard and the common case. */
export const POD_CIDR = "10.244.0.0/16";
export const NODE_POD_CIDR = "10.244.0.0/24";
export const SERVICE_CIDR = "10.96.0.0/16";
export const KUBERNETES_SERVICE_IP = "10.96.0.1";
export const DNS_SERVICE_IP = "10.96.0.10";

const BASE = ipToNumber("198.18.0.0");
const RUN_SIZE = 2 ** 12;
/** 32 runs fit side by side. */
export const RUN_SLOTS = 2 ** 17 / RUN_SIZE;
/** /24 number 0 is the host's link, 15 the hub's. */
export const MAX_CLUSTERS = 14;
const HUB_SLOT = 15;

export interface Link {
  /** The fabric's end, which is the other end's gateway. */
  readonly fabric: string;
  readonly peer: string;
  readonly prefix: 30;
}

export interface ClusterNetwork {
  readonly name: string;
  /** Name of the fabric's interface towards the node. */
  readonly fabricInterface: string;
  readonly link: Link;
  readonly nodeAddress: string;
  readonly lbPool: string;
}

export interface RunNetwork {
  readonly subnet: string;
  readonly hostLink: Link;
  readonly hubLink: Link;
  readonly hubAddress: string;
  readonly clusters: readonly ClusterNetwork[];
}

export function ipToNumber(ip: string): number {
  return ip.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

export function numberToIp(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
}

export interface Range {
  readonly first: number;
  readonly last: number;
}

export function rangeOf(cidr: string): Range {
  const [ip = "", prefix = "32"] = cidr.split("/");
  const size = 2 ** (32 - Number(prefix));
  const first = Math.floor(ipToNumber(ip) / size) * size;
  return { first, last: first + size - 1 };
}

export function overlaps(a: string, b: string): boolean {
  const [left, right] = [rangeOf(a), rangeOf(b)];
  return left.first <= right.last && right.first <= left.last;
}

export function planNetwork(slot: number, clusters: readonly string[]): RunNetwork {
  if (clusters.length > MAX_CLUSTERS)
    throw new UserError("ISTHMUS_CLUSTERS_TOO_MANY", `a run has at most ${MAX_CLUSTERS} clusters`);
  const base = BASE + slot * RUN_SIZE;
  const linkAt = (number: number): Link => ({
    fabric: numberToIp(base + number * 256 + 1),
    peer: numberToIp(base + number * 256 + 2),
    prefix: 30,
  });
  const hubLink = linkAt(HUB_SLOT);
  return {
    subnet: `${numberToIp(base)}/20`,
    hostLink: linkAt(0),
    hubLink,
    hubAddress: hubLink.peer,
    clusters: clusters.map((name, index) => {
      const link = linkAt(index + 1);
      const lbPool = `${numberToIp(base + (index + 1) * 256 + 128)}/25`;
      return { name, fabricInterface: `link${index}`, link, nodeAddress: link.peer, lbPool };
    }),
  };
}

export interface HostRoute {
  readonly destination: string;
  readonly device: string;
}

/**
 * The first /20 that neither another run nor a route of the host uses. The whole range taken by somebody else's route
 * (a VPN, a lab network) is an error that names the route, since clusters would cut it off.
 */
export function chooseSlot(routes: readonly HostRoute[], takenSlots: ReadonlySet<number>): number {
  // a default route covers everything and collides with nothing: ours is more specific by design
  const real = routes.filter((route) => route.destination !== "default" && !route.destination.startsWith("0.0.0.0/"));
  let collision: HostRoute | undefined;
  for (let slot = 0; slot < RUN_SLOTS; slot += 1) {
    const subnet = `${numberToIp(BASE + slot * RUN_SIZE)}/20`;
    const route = real.find((each) => overlaps(each.destination, subnet));
    if (route === undefined && !takenSlots.has(slot)) return slot;
    if (route !== undefined && !route.device.startsWith("ist-")) collision ??= route;
  }
  if (collision === undefined)
    throw new UserError("ISTHMUS_CLUSTERS_NO_ADDRESSES", "all 32 networks of 198.18.0.0/15 are used by other runs", {
      hint: "npm run clusters -- status lists them; npm run clusters -- down --run NAME frees one",
    });
  throw new UserError(
    "ISTHMUS_CLUSTERS_ROUTE_COLLISION",
    `the host routes ${collision.destination} to ${collision.device}, which leaves no free network in 198.18.0.0/15`,
    { hint: "remove that route while the clusters are up" },
  );
}

export function slotOf(subnet: string): number {
  return (rangeOf(subnet).first - BASE) / RUN_SIZE;
}
