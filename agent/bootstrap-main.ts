// Init container of a gateway pod: waits until the cluster has joined (ConfigMap isthmus-membership), then writes Envoy's
// bootstrap for the proxy that follows in the same pod. The agent serves everything else over ADS.
// It must not hold a credential of the mesh: it reads one ConfigMap without secrets, with the pod's own account.
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { systemClock } from "../shared/clock.ts";
import { UserError } from "../shared/errors.ts";
import { causeChain, jsonLog, type Log } from "../shared/log.ts";
import { createClient } from "./kube/client.ts";
import { openConnection } from "./kube/connection.ts";
import { runListWatch, type Sink } from "./kube/list-watch.ts";
import { membershipConfigMap, membershipOf, type Membership } from "./kube/membership-config-map.ts";
import { configMaps } from "./kube/resources.ts";
import { bootstrapConfig, bootstrapFiles } from "./xds/bootstrap.ts";

export interface GatewayPlace {
  readonly namespace: string;
  readonly agentHost: string;
  readonly adsPort: number;
  readonly configDir: string;
  readonly trustDir: string;
  readonly tokenDir: string;
  readonly region: string;
  readonly zone: string;
  /** 0: no limit. */
  readonly maxHeapBytes: number;
}

export function readGatewayPlace(environment: Readonly<Record<string, string | undefined>>): GatewayPlace {
  const text = (name: string, fallback: string) => environment[name] ?? fallback;
  const namespace = text("POD_NAMESPACE", "isthmus-system");
  return {
    namespace,
    agentHost: text("ISTHMUS_AGENT_HOST", `isthmus-agent.${namespace}.svc`),
    adsPort: Number(text("ISTHMUS_ADS_PORT", "15128")),
    configDir: text("ISTHMUS_CONFIG_DIR", "/etc/isthmus"),
    trustDir: text("ISTHMUS_TRUST_DIR", "/var/run/isthmus/trust"),
    tokenDir: text("ISTHMUS_TOKEN_DIR", "/var/run/isthmus/token"),
    region: text("ISTHMUS_REGION", ""),
    zone: text("ISTHMUS_ZONE", ""),
    maxHeapBytes: Number(text("ISTHMUS_MAX_HEAP_BYTES", "0")),
  };
}

/** File names with their content; Envoy starts from `envoy.json`. */
export function gatewayFiles(place: GatewayPlace, membership: Membership): Readonly<Record<string, string>> {
  const { configDir, trustDir, tokenDir, region, zone, maxHeapBytes } = place;
  const envoy = bootstrapConfig({
    kind: "gateway",
    ...membership,
    agent: { host: place.agentHost, port: place.adsPort },
    ...{ trustDir, tokenDir, configDir },
    probes: [],
    locality: { region, zone },
    ...(maxHeapBytes > 0 && { maxHeapBytes }),
  });
  const files = { ...bootstrapFiles({ trustDir, tokenDir }), "envoy.json": envoy };
  return Object.fromEntries(Object.entries(files).map(([name, content]) => [name, JSON.stringify(content)]));
}

async function whenJoined(namespace: string, log: Log): Promise<Membership> {
  const connection = await openConnection({ kind: "in-cluster" }, systemClock);
  const client = createClient(connection);
  const stop = new AbortController();
  let found: Membership | undefined;
  const take = (object: unknown) => {
    found ??= membershipOf(object);
    if (found !== undefined) stop.abort();
  };
  const sink: Sink = {
    begin: () => undefined,
    page: (items) => items.forEach(take),
    commit: () => undefined,
    put: take,
    remove: () => undefined,
  };
  const options = {
    resources: [configMaps] as const,
    namespace,
    fieldSelector: `metadata.name=${membershipConfigMap}`,
  };
  log.info("waiting for the cluster to join the fleet", { configMap: `${namespace}/${membershipConfigMap}` });
  const deps = { client, clock: systemClock, log, random: Math.random, onState: () => undefined };
  try {
    await runListWatch(options, sink, deps, stop.signal);
  } finally {
    client.close();
  }
  if (found === undefined) throw new Error("the watch ended before the ConfigMap was complete");
  return found;
}

async function main(): Promise<void> {
  const log = jsonLog("info", (line) => process.stderr.write(line));
  process.once("SIGTERM", () => process.exit(143));
  const place = readGatewayPlace(process.env);
  const membership = await whenJoined(place.namespace, log);
  for (const [name, content] of Object.entries(gatewayFiles(place, membership))) {
    const path = join(place.configDir, name);
    await writeFile(`${path}.part`, content);
    await rename(`${path}.part`, path);
  }
  log.info("bootstrap written", { cluster: membership.cluster, fleetDomain: membership.fleetDomain });
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    const code = error instanceof UserError ? error.code : "ISTHMUS_INTERNAL";
    process.stderr.write(`${code}: ${causeChain(error).join("; caused by ")}\n`);
    process.exitCode = 1;
  }
}
