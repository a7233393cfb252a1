// What the injector is told: images, addresses and resources once at the start, the mesh-wide exclusions with each pod.
// Names and ports here are those that the charts, the agent and Envoy's configuration agree on.
import type { ClusterName, FleetDomain } from "../../shared/ids.ts";
import type { ConfiguredExclusions } from "../ir/inputs.ts";

export const systemNamespace = "isthmus-system";
export const proxyContainer = "isthmus-proxy";
export const initContainer = "isthmus-init";
/** Envoy's user: the redirect lets its traffic pass, so nothing else in a meshed pod may run as it. */
export const proxyUid = 1337;
export const injectedLabel = "isthmus.dev/injected";

export const proxyPorts = {
  outbound: 15001,
  inbound: 15003,
  admin: 15000,
  readiness: 15021,
  metrics: 15010,
  /** Health probes from here on: three for each container, in the order liveness, readiness, startup. */
  firstProbe: 15901,
  lastProbe: 15999,
} as const;

export const paths = {
  trust: "/var/run/isthmus/trust",
  token: "/var/run/isthmus/token",
  config: "/var/run/isthmus/config",
} as const;

export type TrafficExclusions = ConfiguredExclusions;

export const noExclusions: TrafficExclusions = {
  outboundPorts: [],
  inboundPorts: [],
  outboundRanges: [],
  outboundOnlyRanges: [],
};

export function joinedExclusions(one: TrafficExclusions, other: TrafficExclusions): TrafficExclusions {
  return {
    outboundPorts: [...one.outboundPorts, ...other.outboundPorts],
    inboundPorts: [...one.inboundPorts, ...other.inboundPorts],
    outboundRanges: [...one.outboundRanges, ...other.outboundRanges],
    outboundOnlyRanges: [...one.outboundOnlyRanges, ...other.outboundOnlyRanges],
  };
}

export interface InjectionSettings {
  readonly cluster: ClusterName;
  readonly fleetDomain: FleetDomain;
  /** Where sidecars find the agent's ADS. */
  readonly agent: { readonly host: string; readonly port: number };
  readonly proxyImage: string;
  readonly initImage: string;
  readonly imagePullPolicy: "Always" | "IfNotPresent" | "Never";
  readonly proxyCpuRequest: string;
  readonly proxyMemoryRequest: string;
  /** Also tells Envoy when to shed load instead of being killed. */
  readonly proxyMemoryLimitBytes: number;
  /** Worker threads, at most 2. */
  readonly concurrency: number;
  readonly exclusions: TrafficExclusions;
}
