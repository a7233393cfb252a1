// Settings of an injector in tests: cluster east of fleet acme.mesh.
import type { ClusterName, FleetDomain } from "../../../shared/ids.ts";
import { noExclusions, type InjectionSettings } from "../settings.ts";

export function someSettings(settings: Partial<InjectionSettings> = {}): InjectionSettings {
  return {
    cluster: "east" as ClusterName,
    fleetDomain: "acme.mesh" as FleetDomain,
    agent: { host: "isthmus-agent.isthmus-system.svc", port: 15128 },
    proxyImage: "isthmus/envoy:1",
    initImage: "isthmus/init:1",
    imagePullPolicy: "IfNotPresent",
    proxyCpuRequest: "50m",
    proxyMemoryRequest: "64Mi",
    proxyMemoryLimitBytes: 268_435_456,
    concurrency: 2,
    exclusions: noExclusions,
    ...settings,
  };
}
