// What a kubelet would make of a Deployment, made of processes: a Workload manifest per replica, and what its application is
// started with. The other manifests go to a site as they are. Pure; called by site-scene.ts.
import type { Manifest } from "../stage/fleet-under-test.ts";

/** The parts of a Deployment and a Service that are read here. */
interface DeploymentObject {
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly spec: {
    readonly replicas?: number;
    readonly template: {
      readonly metadata: {
        readonly labels: Readonly<Record<string, string>>;
        readonly annotations?: Readonly<Record<string, string>>;
      };
      readonly spec: { readonly serviceAccountName: string; readonly containers: readonly Container[] };
    };
  };
}

interface Container {
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly readinessProbe?: { readonly httpGet?: { readonly path: string } };
}

interface ServiceObject {
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly spec: {
    readonly selector?: Readonly<Record<string, string>>;
    readonly ports: readonly {
      readonly name?: string;
      readonly targetPort?: number | string;
      readonly port: number;
      readonly appProtocol?: string;
    }[];
  };
}

export interface ReplicaPlan {
  readonly name: string;
  readonly serviceAccount: string;
  /** Undefined: it is no part of the mesh. */
  readonly workload: Manifest | undefined;
  readonly env: Readonly<Record<string, string>>;
  /** Where the application answers HTTP. */
  readonly application: { readonly address: string; readonly port: number };
}

const HTTP_PORT = 8080;
const OUTSIDE = "isthmus.dev/sidecar-injection";

export interface ReplicaWish {
  readonly deployment: Manifest;
  readonly services: readonly Manifest[];
  /** One loopback address per replica, on which nothing listens yet. */
  readonly addresses: readonly string[];
}

export function replicasOf({ deployment, services, addresses }: ReplicaWish): readonly ReplicaPlan[] {
  const object = deployment as unknown as DeploymentObject;
  const { metadata, spec } = object;
  const { labels, annotations = {} } = spec.template.metadata;
  const [container = {}] = spec.template.spec.containers;
  const ports = portsOf(container, servicesFor(object, services));
  const { serviceAccountName: serviceAccount } = spec.template.spec;
  return addresses.map((address, index) => {
    const name = `${metadata.name}-${index}`;
    const given = (container.env ?? []).map((each) => [each.name, each.value ?? name]);
    const workload = {
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "Workload",
      metadata: { namespace: metadata.namespace, name, labels },
      spec: {
        serviceAccount,
        ports: ports.map((port) => ({ ...port, application: `${address}:${port.port}` })),
        healthCheck: { path: container.readinessProbe?.httpGet?.path ?? "/healthz", port: HTTP_PORT, address },
      },
    };
    return {
      name,
      serviceAccount,
      workload: annotations[OUTSIDE] === "disabled" ? undefined : workload,
      env: { ...Object.fromEntries(given), SHOP_ADDRESS: address } as Record<string, string>,
      application: { address, port: HTTP_PORT },
    };
  });
}

export function replicaCount(deployment: Manifest): number {
  return (deployment as unknown as DeploymentObject).spec.replicas ?? 1;
}

function servicesFor({ metadata, spec }: DeploymentObject, services: readonly Manifest[]): readonly ServiceObject[] {
  const { labels } = spec.template.metadata;
  return (services as unknown as readonly ServiceObject[]).filter(
    (service) =>
      service.metadata.namespace === metadata.namespace &&
      Object.entries(service.spec.selector ?? { none: "none" }).every(([key, value]) => labels[key] === value),
  );
}

interface Port {
  readonly name: string;
  readonly port: number;
  readonly appProtocol?: string;
}

/** Those that the container names, and those that a Service leads to by number. */
function portsOf(container: Container, services: readonly ServiceObject[]): readonly Port[] {
  const ports = new Map<number, Port>();
  for (const { name, containerPort: port } of container.ports ?? []) ports.set(port, { name, port });
  for (const { name = "", targetPort, port, appProtocol } of services.flatMap(({ spec }) => spec.ports)) {
    const number = targetPort ?? port;
    if (typeof number !== "number" || ports.has(number)) continue;
    ports.set(number, { name, port: number, ...(appProtocol === undefined ? {} : { appProtocol }) });
  }
  return [...ports.values()];
}
