// LDS of a bound sidecar, client side: each service port on an address of the workload's own block of loopback addresses, so that an
// application that knows nothing of proxies calls a service as it would call a cluster IP. Called by translate.
// A listener must never lie in another workload's block: who connects there speaks as that workload.
import type { ClusterName } from "../../shared/ids.ts";
import type { BoundInput } from "../ir/inputs.ts";
import { isHttp } from "./clusters.ts";
import { boundTo, chainOf, refusedChain } from "./listeners.ts";
import { fixedNames, formatName } from "./names.ts";
import { remembered } from "./remembered.ts";
import type { JsonMessage } from "./resource.ts";
import type { PortView } from "./service-ports.ts";

/** A block is a /20: its first address is the workload's own, its last is left alone. */
const LAST_OFFSET = 4094;

function numberOf(address: string): number | undefined {
  if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(address)) return undefined;
  return address.split(".").reduce((number, part) => number * 256 + Number(part), 0);
}

function textOf(number: number): string {
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join(".");
}

/** The canonical address of a service, moved into this workload's block; undefined when it is no address of the range. */
export function addressInBlock(
  clusterIp: string,
  { rangeStart, blockStart }: BoundInput["loopback"],
): string | undefined {
  const [service, range, block] = [clusterIp, rangeStart, blockStart].map(numberOf);
  if (service === undefined || range === undefined || block === undefined) return undefined;
  const offset = service - range;
  return offset >= 1 && offset <= LAST_OFFSET ? textOf(block + offset) : undefined;
}

export interface LoopbackInput {
  readonly bound: BoundInput;
  /** Whose services those of the site are, for what is counted. */
  readonly cluster: ClusterName;
  /** Whether requests are counted by pod. */
  readonly podLabel: boolean;
}

interface Opened {
  /** The address and port. */
  readonly name: string;
  readonly listener: JsonMessage;
}

/** One chain, so there is nothing to inspect: a server that speaks first is not kept waiting. */
function openedFor(view: PortView, chain: JsonMessage, { lowestPort, loopback }: BoundInput): readonly Opened[] {
  const {
    service,
    port: { port },
  } = view;
  if (port < lowestPort) return [];
  return service.vips.flatMap((clusterIp) => {
    const address = addressInBlock(clusterIp, loopback);
    if (address === undefined) return [];
    const name = formatName({ kind: "bound-outbound", address, port });
    const listener = {
      name,
      stat_prefix: fixedNames.outboundListener,
      traffic_direction: "OUTBOUND",
      ...boundTo(address, port),
      filter_chains: [chain],
    };
    return [{ name, listener }];
  });
}

/**
 * Of two services that claim one address and port the first speaks for it. `refused`: services of the site that the workload may not
 * call. What is not bound refuses connections, as raw TCP shall be; an HTTP client is told why.
 */
export function loopbackListeners(
  views: readonly PortView[],
  refused: readonly PortView[],
  { bound, cluster, podLabel }: LoopbackInput,
): readonly JsonMessage[] {
  const { loopback, lowestPort } = bound;
  const key = `${loopback.rangeStart}|${loopback.blockStart}|${lowestPort}|${podLabel}`;
  const opened = [
    ...views.map((view) => remembered(view, `loopback|${key}`, () => openedFor(view, chainOf(view, podLabel), bound))),
    ...refused
      .filter(({ port }) => isHttp(port.protocol))
      .map((view) =>
        remembered(view, `refused loopback|${key}|${cluster}`, () =>
          openedFor(view, refusedChain(view, cluster, podLabel), bound),
        ),
      ),
  ];
  const listeners = new Map<string, JsonMessage>();
  for (const { name, listener } of opened.flat()) if (!listeners.has(name)) listeners.set(name, listener);
  return [...listeners.values()];
}
