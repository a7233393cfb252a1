// Who a configuration is for. Two proxies with equal ProxyClass get byte-identical resources, so a class is translated
// and encoded once however many streams have it; nothing of a single pod (address, name) may enter.
import type { GatewayAddress } from "../../shared/registry.ts";
import type { BoundInput } from "../ir/inputs.ts";
import type { InboundPortIr } from "../ir/types.ts";

export type ProxyClass =
  | {
      readonly kind: "sidecar";
      readonly namespace: string;
      readonly serviceAccount: string;
      readonly workloadKind: string;
      readonly workloadName: string;
      /** Sorted by port. */
      readonly inbound: readonly InboundPortIr[];
      /** Its sidecar is a process that binds addresses of its own; such a workload shares its class with no other. */
      readonly bound?: BoundInput;
    }
  | {
      readonly kind: "gateway";
      /** Where it listens. Absent: the gateway port of its pod. */
      readonly bind?: GatewayAddress;
    };

export type SidecarClass = Extract<ProxyClass, { readonly kind: "sidecar" }>;
export type GatewayClass = Extract<ProxyClass, { readonly kind: "gateway" }>;

/** The proxy's own credential and the fleet's roots, as SDS delivers them. */
export interface ProxyTrust {
  readonly rootsPem: string;
  /** Leaf first, then the cluster CA. */
  readonly chainPem: string;
  readonly keyPem: string;
}
