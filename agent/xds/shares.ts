// Ratios as whole numbers: how calls to a port divide among clusters. A split divides by its weights, and each share once more where a
// service has pods without a sidecar (plaintext.ts). Pure; called by service-ports, routes and http-proxy.
import type { JsonMessage } from "./resource.ts";

/** A cluster and its part of the calls, in proportion to the other weights. */
export interface Share {
  readonly cluster: string;
  readonly weight: number;
}

/** What one weight stands for: the clusters that divide it among them. */
export interface Part {
  readonly weight: number;
  readonly shares: readonly Share[];
}

/** Envoy refuses clusters whose weights add up to more (config.route.v3.WeightedCluster). */
const MAX_TOTAL_WEIGHT = 4_294_967_295n;

function greatestDivisor(a: bigint, b: bigint): bigint {
  return b === 0n ? a : greatestDivisor(b, a % b);
}

function total(weights: readonly bigint[]): bigint {
  return weights.reduce((sum, weight) => sum + weight, 0n);
}

/** What has a weight keeps one, however small beside the others. */
function scaledDown(weights: readonly bigint[]): readonly bigint[] {
  const sum = total(weights);
  const room = MAX_TOTAL_WEIGHT - BigInt(weights.length);
  return sum <= MAX_TOTAL_WEIGHT ? weights : weights.map((weight) => (weight === 0n ? 0n : (weight * room) / sum + 1n));
}

/** A part none of whose clusters has a weight goes to the first of them, which says why nobody answers. */
function dividing({ shares }: Part): readonly Share[] {
  if (shares.some(({ weight }) => weight > 0)) return shares;
  return shares.slice(0, 1).map((share) => ({ ...share, weight: 1 }));
}

/** Exact, in lowest terms: equal ratios give equal bytes, 2:1 and 1000:500. */
export function dividedShares(parts: readonly Part[]): readonly Share[] {
  const divided = parts.map((part) => {
    const shares = dividing(part);
    return { weight: BigInt(part.weight), shares, sum: total(shares.map(({ weight }) => BigInt(weight))) };
  });
  const common = divided.reduce((product, { sum }) => (product / greatestDivisor(product, sum)) * sum, 1n);
  const weights = divided.flatMap(({ weight, shares, sum }) =>
    shares.map((share) => (weight * BigInt(share.weight) * common) / sum),
  );
  const divisor = weights.reduce(greatestDivisor, 0n);
  const least = scaledDown(divisor === 0n ? weights : weights.map((weight) => weight / divisor));
  const clusters = divided.flatMap(({ shares }) => shares.map(({ cluster }) => cluster));
  return clusters.map((cluster, index) => ({ cluster, weight: Number(least[index] ?? 0n) }));
}

/** Of a route or a tcp_proxy. Envoy refuses weights that are all zero: then the first cluster answers, with 503. */
export function destination(shares: readonly Share[]): JsonMessage {
  const weighted = shares.filter(({ weight }) => weight > 0);
  const [only] = weighted.length === 0 ? shares : weighted;
  if (weighted.length <= 1) return { cluster: only?.cluster ?? "" };
  return { weighted_clusters: { clusters: weighted.map(({ cluster, weight }) => ({ name: cluster, weight })) } };
}
