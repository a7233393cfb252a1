// Permissive mode only: pods of a service that have no sidecar yet, beside those that have one. They take their share of requests in
// plaintext, so that injecting a namespace pod by pod never sends all traffic to the first one. Called by service-ports.
// It must never be reachable when the mesh is not permissive: then a pod without a sidecar is not called at all.
import type { LocalEndpoint, ServiceIr, ServicePortIr } from "../ir/types.ts";
import { isHttp, plaintextHttpCluster } from "./clusters.ts";
import { loadAssignment } from "./endpoints.ts";
import { formatName } from "./names.ts";
import type { JsonMessage } from "./resource.ts";
import type { Share } from "./shares.ts";

/** A second cluster for HTTP: between sidecars it is always HTTP/2, to an application it is what the caller spoke. */
export interface PlaintextHttp {
  readonly cluster: JsonMessage;
  readonly assignment: JsonMessage;
  /** Routes divide by what is ready. */
  readonly shares: readonly Share[];
}

export interface PlaintextInput {
  readonly service: ServiceIr;
  readonly port: ServicePortIr;
  /** Of the cluster of pods with a sidecar. */
  readonly name: string;
  readonly meshed: readonly LocalEndpoint[];
  readonly permissive: boolean;
}

/** Other members are reached over mutual TLS alone, so an import has no such pods. */
export function unmeshedPods({
  service,
  port,
  permissive,
}: Omit<PlaintextInput, "name" | "meshed">): readonly LocalEndpoint[] {
  if (!permissive || service.headless || service.scope === "fleet") return [];
  return port.local.filter((endpoint) => !endpoint.meshed);
}

function readyOf(endpoints: readonly LocalEndpoint[]): number {
  return endpoints.filter((endpoint) => endpoint.ready).length;
}

export function plaintextHttp(input: PlaintextInput): PlaintextHttp | undefined {
  const { service, port, name, meshed } = input;
  const unmeshed = unmeshedPods(input);
  if (unmeshed.length === 0 || !isHttp(port.protocol)) return undefined;
  const { scope, namespace } = service;
  const plaintext = formatName({ kind: "plaintext", scope, namespace, service: service.name, port: port.port });
  return {
    cluster: plaintextHttpCluster(plaintext, port.protocol),
    assignment: loadAssignment({ name: plaintext, local: unmeshed, remote: [], requestsTo: service.name }),
    shares: [
      { cluster: name, weight: readyOf(meshed) },
      { cluster: plaintext, weight: readyOf(unmeshed) },
    ],
  };
}
