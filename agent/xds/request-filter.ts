// ECDS: all that an HTTP port's chain of the outbound listener does, under a name of its own. Inside the listener it would be 6 kB of each
// service in every change of one (decision 0053). Called by listeners and outbound-resources.
// What a name stands for never changes: Envoy 1.40 makes the filters of chains that came before the listener's last change with that
// older listener's context, which may be gone. So the name carries a version of the content, and another content is another chain.
import { isHttp } from "./clusters.ts";
import { connectionManager } from "./connection-manager.ts";
import { formatName } from "./names.ts";
import { remembered } from "./remembered.ts";
import { answererFilter, requestLog } from "./request-metrics.ts";
import type { JsonMessage } from "./resource.ts";
import type { PortView } from "./service-ports.ts";
import { fromAds } from "./typed-config.ts";

/** What reads and counts the requests to one service port, by the routes of its name. */
export function requestManager(routes: string, podLabel: boolean): JsonMessage {
  return connectionManager({
    statPrefix: "outbound",
    codec: "AUTO",
    routes: { rds: routes },
    filters: [answererFilter],
    extra: { access_log: [requestLog(podLabel)] },
  });
}

/** FNV-1a, 32 bits: it tells a handful of releases apart, and withstands nobody. */
function versionOf(content: string): string {
  let hash = 0x811c9dc5;
  for (let index = 0; index < content.length; index += 1) {
    hash = Math.imul(hash ^ content.charCodeAt(index), 0x01000193);
  }
  return (hash >>> 0).toString(16).padStart(8, "0");
}

const versions = {
  withPods: versionOf(JSON.stringify(requestManager("", true))),
  withoutPods: versionOf(JSON.stringify(requestManager("", false))),
};

function requestsName({ service, port }: PortView, podLabel: boolean): string {
  const { scope, namespace, name } = service;
  const version = podLabel ? versions.withPods : versions.withoutPods;
  return formatName({ kind: "requests", version, scope, namespace, service: name, port: port.port });
}

/** Undefined for raw TCP. */
export function requestFilter(view: PortView, podLabel: boolean): JsonMessage | undefined {
  if (!isHttp(view.port.protocol)) return undefined;
  return remembered(view, `requests|${podLabel}`, () => ({
    ...requestManager(view.name, podLabel),
    name: requestsName(view, podLabel),
  }));
}

const managerType = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/**
 * In a chain: the filter that comes by that name. Without a time-out, for a listener that went on without it would never ask for its routes;
 * until it comes the listener that was stays.
 */
export function namedRequestFilter(view: PortView, podLabel: boolean): JsonMessage {
  const source = { ...fromAds, initial_fetch_timeout: "0s" };
  const type = `type.googleapis.com/${managerType}`;
  return { name: requestsName(view, podLabel), config_discovery: { config_source: source, type_urls: [type] } };
}
