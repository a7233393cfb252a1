// What Kubernetes' EndpointSlice controller does for Services with a selector, done for the workloads of a site; and the
// Services that workloads name but nobody declared. Pure.
import type { EndpointInput, ServiceInput, ServicePortInput, SliceInput } from "../ir/inputs.ts";
import type { WorkloadManifest } from "./workload.ts";

/** A workload as the mesh sees it now. */
export interface PlacedWorkload {
  readonly workload: WorkloadManifest;
  /** Where its sidecar is reached. */
  readonly address: string;
  readonly ready: boolean;
}

/** Services that are only named by `spec.service`: made of the ports of the workloads that name them. */
export function undeclaredServices(
  workloads: readonly WorkloadManifest[],
  declared: readonly ServiceInput[],
): readonly ServiceInput[] {
  const known = new Set(declared.map(({ namespace, name }) => `${namespace}/${name}`));
  const made = new Map<string, { readonly from: WorkloadManifest; readonly ports: Map<number, ServicePortInput> }>();
  for (const workload of workloads) {
    const key = `${workload.namespace}/${workload.service}`;
    if (workload.service === "" || known.has(key)) continue;
    const service = made.get(key) ?? { from: workload, ports: new Map<number, ServicePortInput>() };
    made.set(key, service);
    for (const { name, port, appProtocol } of workload.ports) {
      if (!service.ports.has(port))
        service.ports.set(port, { name, port, targetPort: port, protocol: "TCP", appProtocol });
    }
  }
  return [...made.values()].map(({ from, ports }) => ({
    namespace: from.namespace,
    name: from.service,
    clusterIps: [],
    type: "ClusterIP",
    selector: {},
    ports: named([...ports.values()].sort((a, b) => a.port - b.port)),
    importOf: "",
  }));
}

/** Endpoints are matched to ports by name, so each of several ports needs one of its own. */
function named(ports: readonly ServicePortInput[]): readonly ServicePortInput[] {
  if (ports.length < 2) return ports;
  const seen = new Set<string>();
  return ports.map((port) => {
    const name = port.name === "" || seen.has(port.name) ? `p${port.port}` : port.name;
    seen.add(name);
    return name === port.name ? port : { ...port, name };
  });
}

export function workloadSlices(
  services: readonly ServiceInput[],
  workloads: readonly PlacedWorkload[],
): readonly SliceInput[] {
  return services.flatMap((service) => {
    if (service.type === "ExternalName" || service.importOf !== "") return [];
    const members = workloads.filter(({ workload }) => belongs(workload, service));
    return slicesOf(service, members);
  });
}

function belongs(workload: WorkloadManifest, { namespace, name, selector }: ServiceInput): boolean {
  if (workload.namespace !== namespace) return false;
  if (workload.service === name) return true;
  const wanted = Object.entries(selector);
  return wanted.length > 0 && wanted.every(([key, value]) => workload.labels[key] === value);
}

/** Workloads that answer on the same ports share a slice: a named target port may mean another number in each. */
function slicesOf(service: ServiceInput, members: readonly PlacedWorkload[]): readonly SliceInput[] {
  const groups = new Map<string, { readonly ports: SliceInput["ports"]; readonly endpoints: EndpointInput[] }>();
  for (const member of members) {
    const ports = portsOf(service, member.workload);
    const key = JSON.stringify(ports);
    const group = groups.get(key) ?? { ports, endpoints: [] };
    groups.set(key, group);
    group.endpoints.push(endpointOf(member));
  }
  const { namespace, name } = service;
  return [...groups.keys()].sort().flatMap((key, index) => {
    const group = groups.get(key);
    return group === undefined ? [] : [{ namespace, name: `${name}-workloads-${index}`, service: name, ...group }];
  });
}

function portsOf(service: ServiceInput, workload: WorkloadManifest): SliceInput["ports"] {
  return service.ports.flatMap(({ name, targetPort, protocol }) => {
    if (protocol !== "TCP") return [];
    if (typeof targetPort === "number") return [{ name, port: targetPort }];
    const target = workload.ports.find((port) => port.name === targetPort);
    return target === undefined ? [] : [{ name, port: target.port }];
  });
}

function endpointOf({ workload, address, ready }: PlacedWorkload): EndpointInput {
  return {
    address,
    ready,
    serving: ready,
    terminating: false,
    podName: workload.name,
    hostname: "",
    zone: "",
  };
}
