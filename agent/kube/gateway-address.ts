// Where other members reach this one's gateways: configured, or what the load balancer of the Service `isthmus-gateway`
// got. A host name (as some clouds give) is resolved here, again and again, for records carry IP literals only.
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { Clock } from "../../shared/clock.ts";
import type { Task } from "../../shared/lifecycle.ts";
import type { GatewayAddress } from "../../shared/registry.ts";
import { sameValue } from "./json.ts";
import type { Feeds } from "./feeds.ts";
import type { GatewayServiceRecord } from "./parse/gateway-service.ts";
import { sleepOrWake } from "../../shared/pause.ts";

export type ResolveHost = (host: string) => Promise<readonly string[]>;

/** What is looked at of a Kube. */
export interface GatewaySource {
  readonly clock: Clock;
  readonly stores: { readonly gateway: { readonly records: () => readonly GatewayServiceRecord[] } };
  readonly onChange: Feeds["onChange"];
}

export interface GatewayAddressOptions {
  /** Not empty: taken instead of the Service's (an address in front of it, a fixed one of a site). */
  readonly configured: readonly GatewayAddress[];
  readonly onChange: (addresses: readonly GatewayAddress[]) => void;
  readonly resolve?: ResolveHost;
}

export interface GatewayAddresses {
  readonly task: Task;
  current(): readonly GatewayAddress[];
}

/** Records of cloud load balancers change with their nodes; their time to live is a minute at most. */
const RESOLVE_MS = 30_000;

export function watchGatewayAddresses(kube: GatewaySource, options: GatewayAddressOptions): GatewayAddresses {
  const { resolve = lookupAll, onChange } = options;
  let current: readonly GatewayAddress[] = [];
  const lastGood = new Map<string, readonly string[]>();
  const refresh = async (given: readonly GatewayAddress[]) => {
    const resolved = await Promise.all(given.map((address) => addressesOf(address, lastGood, resolve)));
    const next = sorted(resolved.flat());
    if (sameValue(next, current)) return;
    current = next;
    onChange(next);
  };
  const run = async (signal: AbortSignal) => {
    let wake = Promise.withResolvers<undefined>();
    const stop = kube.onChange((kinds) => {
      if (kinds.has("GatewayService")) wake.resolve(undefined);
    });
    try {
      while (!signal.aborted) {
        wake = Promise.withResolvers<undefined>();
        const given = options.configured.length > 0 ? options.configured : ofService(kube);
        await refresh(given);
        await sleepOrWake(kube.clock, RESOLVE_MS, wake.promise, signal);
      }
    } finally {
      stop();
    }
  };
  return { current: () => current, task: { name: "gateway addresses", run } };
}

function ofService(kube: GatewaySource): readonly GatewayAddress[] {
  return kube.stores.gateway.records().flatMap(({ hosts, port }) => hosts.map((host) => ({ host, port })));
}

/** A name that cannot be resolved now keeps what it last meant: a hiccup of DNS must not withdraw a gateway. */
async function addressesOf(
  { host, port }: GatewayAddress,
  lastGood: Map<string, readonly string[]>,
  resolve: ResolveHost,
): Promise<readonly GatewayAddress[]> {
  if (isIP(host) !== 0) return [{ host, port }];
  const found = await resolve(host).catch((): readonly string[] => []);
  if (found.length > 0) lastGood.set(host, found);
  return (lastGood.get(host) ?? []).map((address) => ({ host: address, port }));
}

async function lookupAll(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

function sorted(addresses: readonly GatewayAddress[]): readonly GatewayAddress[] {
  return [...addresses].sort((a, b) => (a.host === b.host ? a.port - b.port : a.host < b.host ? -1 : 1));
}
