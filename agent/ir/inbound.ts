// What one meshed pod serves: the union of the ports of Services that select it and of those whose slices hold it. Two Services may
// open one port; when they speak of different protocols the first by name wins and the other is told. Called by workloads.ts.
import type { Problem } from "../../shared/result.ts";
import type { PodInput, ServiceInput } from "./inputs.ts";
import { sameElements } from "./memo.ts";
import { compareObjects, compareText } from "./order.ts";
import { protocolFamily, protocolOf } from "./protocols.ts";
import type { Holding } from "./services.ts";
import type { AppProtocol, InboundPortIr, WorkloadIr } from "./types.ts";

interface Declaration {
  readonly port: number;
  readonly protocol: AppProtocol;
  readonly service: ServiceInput;
}

export interface Workload {
  readonly ir: WorkloadIr;
  readonly problems: readonly Problem[];
}

function targetPortOf(targetPort: number | string, pod: PodInput): number | undefined {
  if (typeof targetPort === "number") return targetPort;
  return pod.ports.find((port) => port.name === targetPort)?.port;
}

function selectedPorts(pod: PodInput, services: readonly ServiceInput[]): readonly Declaration[] {
  return services.flatMap((service) =>
    service.ports.flatMap((servicePort) => {
      const port = servicePort.protocol === "TCP" ? targetPortOf(servicePort.targetPort, pod) : undefined;
      return port === undefined ? [] : [{ port, protocol: protocolOf(servicePort), service }];
    }),
  );
}

function heldPorts(holdings: readonly Holding[]): readonly Declaration[] {
  return holdings.flatMap(({ service, ports }) => ports.map(({ port, protocol }) => ({ port, protocol, service })));
}

/** Within a family the more telling protocol wins: server-first must not wait for the client, h2 is a kind of HTTP. */
const strength: readonly AppProtocol[] = ["tls", "tcp", "tcp-server-first", "http", "http2", "grpc"];

function strongest(declarations: readonly Declaration[], family: "http" | "tcp"): AppProtocol {
  const protocols = declarations
    .map((declaration) => declaration.protocol)
    .filter((protocol) => protocolFamily(protocol) === family);
  return strength.findLast((protocol) => protocols.includes(protocol)) ?? family;
}

function conflict(pod: PodInput, first: Declaration, other: Declaration): Problem {
  return {
    code: "ISTHMUS_PORT_PROTOCOL_CONFLICT",
    message: `port ${other.port} of pod ${pod.namespace}/${pod.workloadName === "" ? pod.name : pod.workloadName} is ${other.protocol} here and ${first.protocol} in service ${first.service.name}, which wins by name; let both say the same protocol or use two ports`,
    object: { kind: "Service", namespace: other.service.namespace, name: other.service.name },
    field: "spec.ports",
  };
}

function inboundPort(
  pod: PodInput,
  declarations: readonly Declaration[],
): { port: InboundPortIr; problems: readonly Problem[] } {
  const [first] = declarations;
  if (first === undefined) throw new Error("a group of declarations is never empty");
  const family = protocolFamily(first.protocol);
  const others = declarations.filter((declaration) => protocolFamily(declaration.protocol) !== family);
  return {
    port: { port: first.port, protocol: strongest(declarations, family) },
    problems: others.map((other) => conflict(pod, first, other)),
  };
}

export interface Inbound {
  readonly ports: readonly InboundPortIr[];
  readonly problems: readonly Problem[];
}

function inboundOf(pod: PodInput, selecting: readonly ServiceInput[], holdings: readonly Holding[]): Inbound {
  const byPort = new Map<number, Declaration[]>();
  const declarations = [...selectedPorts(pod, selecting), ...heldPorts(holdings)];
  declarations.sort((a, b) => compareObjects(a.service, b.service) || compareText(a.protocol, b.protocol));
  for (const declaration of declarations) {
    const known = byPort.get(declaration.port);
    if (known === undefined) byPort.set(declaration.port, [declaration]);
    else known.push(declaration);
  }
  const inbound = [...byPort.values()]
    .map((group) => inboundPort(pod, group))
    .sort((a, b) => a.port.port - b.port.port);
  return { ports: inbound.map(({ port }) => port), problems: inbound.flatMap(({ problems }) => problems) };
}

export function workload(pod: PodInput, inbound: Inbound): Workload {
  const { namespace, serviceAccount, workloadKind, workloadName } = pod;
  const ir = {
    namespace,
    podName: pod.name,
    podUid: pod.uid,
    podIp: pod.ip,
    serviceAccount,
    workloadKind,
    workloadName,
    inbound: inbound.ports,
    ...(pod.bound === undefined ? {} : { bound: pod.bound }),
  };
  return { ir, problems: inbound.problems };
}

export type InboundOf = (pod: PodInput, selecting: readonly ServiceInput[], holdings: readonly Holding[]) => Inbound;

/** Pods of one Deployment follow each other and share their answer. */
export function sharedInbound(): InboundOf {
  let last: { readonly pod: PodInput; readonly needs: readonly unknown[]; readonly inbound: Inbound } | undefined;
  return (pod, selecting, holdings) => {
    const needs = [...selecting, undefined, ...holdings];
    const alike = last !== undefined && last.pod.workloadName === pod.workloadName && samePorts(last.pod, pod);
    if (last !== undefined && alike && sameElements(last.needs, needs)) return last.inbound;
    last = { pod, needs, inbound: inboundOf(pod, selecting, holdings) };
    return last.inbound;
  };
}

function samePorts(a: PodInput, b: PodInput): boolean {
  return (
    a.ports.length === b.ports.length &&
    a.ports.every((port, index) => port.name === b.ports[index]?.name && port.port === b.ports[index].port)
  );
}
