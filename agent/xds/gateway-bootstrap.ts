// What a gateway's Envoy starts with: its bootstrap and the files that this names. They depend on which cluster this is and
// on nothing else, so one ConfigMap serves every gateway pod; what the chart's values say (locality, heap limit) the chart
// gives Envoy as an overlay. Pure.
import type { ClusterName, FleetDomain } from "../../shared/ids.ts";
import { bootstrapConfig, bootstrapFiles } from "./bootstrap.ts";

/** Where the chart mounts things in a gateway pod. */
const trustDir = "/var/run/isthmus/trust";
const tokenDir = "/var/run/isthmus/token";
const configDir = "/etc/isthmus";
const ADS_PORT = 15128;

export interface GatewayIdentity {
  readonly cluster: ClusterName;
  readonly fleetDomain: FleetDomain;
  /** Namespace of the agent. */
  readonly namespace: string;
}

/** File names in the gateway's configuration folder with their content. */
export function gatewayFiles({ cluster, fleetDomain, namespace }: GatewayIdentity): Readonly<Record<string, string>> {
  const envoy = bootstrapConfig({
    kind: "gateway",
    ...{ cluster, fleetDomain, trustDir, tokenDir, configDir },
    agent: { host: `isthmus-agent.${namespace}.svc`, port: ADS_PORT },
    probes: [],
  });
  const files = { ...bootstrapFiles({ trustDir, tokenDir }), "envoy.json": envoy };
  return Object.fromEntries(Object.entries(files).map(([name, content]) => [name, JSON.stringify(content)]));
}
