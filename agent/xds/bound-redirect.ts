// LDS of a bound sidecar whose application's connections are redirected too: the outbound listener of a pod, at an address of the
// workload's own. Called by translate, in addition to the listeners that are bound for those who call by address or by proxy.
// Another workload's block is refused whatever the policy: who connects there speaks as that workload.
import type { BoundInput } from "../ir/inputs.ts";
import { boundTo, outboundListener, outboundShape, type OutboundInput } from "./listeners.ts";
import { addressInBlock } from "./loopback.ts";
import { addressesOf } from "./matcher.ts";
import { remembered } from "./remembered.ts";
import type { JsonMessage } from "./resource.ts";
import type { PortView } from "./service-ports.ts";

export type Redirect = NonNullable<BoundInput["redirect"]>;

/** What leads to a service is its address in this block alone. Undefined: it has none there. */
function inBlock(view: PortView, { loopback }: BoundInput): PortView | undefined {
  return remembered(view, `redirected|${loopback.rangeStart}|${loopback.blockStart}`, () => {
    const { service, port, name } = view;
    const addresses = service.vips.flatMap((vip) => addressInBlock(vip, loopback) ?? []);
    if (addresses.length === 0) return undefined;
    const destinations = [{ addresses, port: port.port }];
    return { ...view, destinations, shape: JSON.stringify([name, port.protocol, destinations]) };
  });
}

/** The same input as a pod's listener has, for this workload. */
export function redirectedInput(input: OutboundInput, bound: BoundInput, { range }: Redirect): OutboundInput {
  const visible = input.visible.flatMap(({ view, local }) => {
    const own = inBlock(view, bound);
    return own === undefined ? [] : [{ view: own, local }];
  });
  const { text, ranges } = input.addresses;
  const own = addressesOf([range]);
  const addresses = { text: `${own.text} ${text}`, ranges: [...own.ranges, ...ranges] };
  return { ...input, visible, addresses };
}

export function redirectedShape(input: OutboundInput, { address, port }: Redirect): readonly string[] {
  return [address, String(port), ...outboundShape(input)];
}

export function redirectedListener(input: OutboundInput, { address, port }: Redirect): JsonMessage {
  return { ...outboundListener(input), ...boundTo(address, port) };
}
