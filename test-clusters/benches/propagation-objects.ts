// The Kubernetes objects of the propagation bench: a Service in west without a selector, whose EndpointSlice the bench
// writes itself, and pods with sidecars whose addresses it lists. Called by propagation.ts.
import { formatName } from "../../agent/xds/names.ts";
import { httpRouteGroup, HTTP_PORT, serviceExport, trafficTarget, workload } from "../stage/workload.ts";
import { podCount, type EdsScale, type SliceState } from "./propagation-plan.ts";

export const benchNamespace = "bench-propagation";
const SERVICE = "weights";
export const serverName = "server";
export const clientName = "client";

export const serviceUrl = `http://${SERVICE}.${benchNamespace}.svc.clusterset.local:${HTTP_PORT}/`;
export const slicePath = `/apis/discovery.k8s.io/v1/namespaces/${benchNamespace}/endpointslices/${SERVICE}`;

/** What agent/xds/endpoints.ts makes of capacity; propagation-plan.test.ts fails when it changes. */
export const edsScale: EdsScale = { weightPerPod: 60, phantomAddress: "192.0.2.1" };

const port = { namespace: benchNamespace, service: SERVICE, port: HTTP_PORT } as const;
/** The EDS resource of the client's sidecar. */
export const clientResource = formatName({ kind: "outbound", scope: "fleet", ...port });
/** The EDS resource of the exporter's gateways. */
export const gatewayResource = formatName({ kind: "export", ...port });

type Manifest = Readonly<Record<string, unknown>>;

export function westManifests(image: string): readonly Manifest[] {
  const namespace = benchNamespace;
  const ports = [{ name: "web", port: HTTP_PORT, targetPort: HTTP_PORT, appProtocol: "http" }];
  return [
    // the pods' own Service keeps their port open, so that a step changes what is called and not who serves
    ...workload({ namespace, name: serverName, image, replicas: podCount }),
    { apiVersion: "v1", kind: "Service", metadata: { namespace, name: SERVICE }, spec: { ports } },
    serviceExport(namespace, SERVICE),
    httpRouteGroup(namespace, serverName, [{ name: "all" }]),
    trafficTarget({
      ...{ namespace, name: serverName, to: serverName, from: [clientName], sourceClusters: "east" },
      rule: { kind: "HTTPRouteGroup", name: serverName },
    }),
  ];
}

export function eastManifests(image: string): readonly Manifest[] {
  return workload({ namespace: benchNamespace, name: clientName, image });
}

/** The whole slice, for PUT: the first `total` pods, of which the first `ready` are. */
export function endpointSlice(addresses: readonly string[], { ready, total }: SliceState): Manifest {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { namespace: benchNamespace, name: SERVICE, labels: { "kubernetes.io/service-name": SERVICE } },
    addressType: "IPv4",
    ports: [{ name: "web", port: HTTP_PORT, protocol: "TCP" }],
    endpoints: addresses.slice(0, total).map((address, index) => ({
      addresses: [address],
      conditions: { ready: index < ready, serving: index < ready, terminating: false },
    })),
  };
}
