// What each meshed pod serves: the union of the ports of Services that select it or whose slices hold it. A Service that
// selects a pod opens its port before any slice lists it, so the sidecar is ready when the pod is.
import type { Problem } from "../../shared/result.ts";
import type { MeshInputs, PodInput, ServiceInput } from "./inputs.ts";
import { remember, sameElements, tableOf, topic, type Memory } from "./memo.ts";
import { compareObjects, compareText, objectKey } from "./order.ts";
import { podIndexOf, selectorIndexOf, servicesSelecting, type PodIndex, type SelectorIndex } from "./pod-index.ts";
import { protocolFamily, protocolOf } from "./protocols.ts";
import type { Holding, LocalService } from "./services.ts";
import { share } from "./sharing.ts";
import type { AppProtocol, InboundPortIr, WorkloadIr } from "./types.ts";

interface Declaration {
  readonly port: number;
  readonly protocol: AppProtocol;
  readonly service: ServiceInput;
}

interface Workload {
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

interface Inbound {
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

function workload(pod: PodInput, inbound: Inbound): Workload {
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
  };
  return { ir, problems: inbound.problems };
}

/** Everything about all meshed pods, position by position: one change is then a copy of arrays and a few new elements. */
interface WorkloadList {
  readonly pods: PodIndex;
  readonly selectors: SelectorIndex;
  readonly services: readonly LocalService[];
  readonly selecting: readonly (readonly ServiceInput[])[];
  readonly holdings: readonly (readonly Holding[])[];
  readonly built: readonly Workload[];
}

const listTopic = topic<WorkloadList>("workloads");
const theList = {};
const unheld: readonly Holding[] = [];

function allHoldings(index: PodIndex, services: readonly LocalService[]): (readonly Holding[])[] {
  const all: (readonly Holding[])[] = new Array<readonly Holding[]>(index.meshed.length).fill(unheld);
  for (const holding of services.flatMap((service) => service.holdings)) {
    const alone = [holding];
    for (const pod of holding.pods) {
      const position = pod === undefined ? undefined : index.positions.get(pod);
      if (position === undefined) continue;
      const known = all[position] ?? unheld;
      all[position] = known.length === 0 ? alone : [...known, holding];
    }
  }
  return all;
}

/** Pods of one Deployment follow each other and share their answer. */
function sharedInbound(): (pod: PodInput, selecting: readonly ServiceInput[], holdings: readonly Holding[]) => Inbound {
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

/** What was made of the record that this pod had before. */
function lastOf(pod: PodInput, last: WorkloadList): Workload | undefined {
  const record = last.pods.byName.get(pod.namespace)?.get(pod.name);
  const position = record === undefined ? undefined : last.pods.positions.get(record);
  return position === undefined ? undefined : last.built[position];
}

/** The very result of the last build, if the record and all that selects or holds it are the same. */
function builtFrom(
  pod: PodInput,
  selecting: readonly ServiceInput[],
  holdings: readonly Holding[],
  last: WorkloadList,
): Workload | undefined {
  const position = last.pods.positions.get(pod);
  if (position === undefined) return undefined;
  const same =
    sameElements(last.selecting[position] ?? [], selecting) && sameElements(last.holdings[position] ?? [], holdings);
  return same ? last.built[position] : undefined;
}

function freshList(
  pods: PodIndex,
  selectors: SelectorIndex,
  services: readonly LocalService[],
  last: WorkloadList | undefined,
): WorkloadList {
  const inbound = sharedInbound();
  const holdings = allHoldings(pods, services);
  const selecting = pods.meshed.map((pod) => servicesSelecting(pod, selectors));
  const built = pods.meshed.map((pod, position) => {
    const selected = selecting[position] ?? [];
    const held = holdings[position] ?? unheld;
    const known = last === undefined ? undefined : builtFrom(pod, selected, held, last);
    if (known !== undefined) return known;
    return share(last === undefined ? undefined : lastOf(pod, last), workload(pod, inbound(pod, selected, held)));
  });
  return { pods, selectors, services, selecting, holdings, built };
}

/** The same pods and selectors: only pods that a changed Service held or holds are looked at. */
function patchedList(last: WorkloadList, services: readonly LocalService[]): WorkloadList {
  const before = new Set(last.services);
  const after = new Set(services);
  const gone = new Set(last.services.filter((service) => !after.has(service)).flatMap((service) => service.holdings));
  const come = services.filter((service) => !before.has(service)).flatMap((service) => service.holdings);
  const holdings = [...last.holdings];
  const dirty = new Set<number>();
  const visit = (holding: Holding, change: (position: number) => void) => {
    for (const pod of holding.pods) {
      const position = pod === undefined ? undefined : last.pods.positions.get(pod);
      if (position === undefined) continue;
      dirty.add(position);
      change(position);
    }
  };
  for (const holding of gone)
    visit(holding, (position) => (holdings[position] = (holdings[position] ?? []).filter((held) => held !== holding)));
  for (const holding of come)
    visit(holding, (position) => (holdings[position] = [...(holdings[position] ?? []), holding]));
  const inbound = sharedInbound();
  const built = [...last.built];
  for (const position of dirty) {
    const pod = last.pods.meshed[position];
    if (pod !== undefined) {
      const inboundPorts = inbound(pod, last.selecting[position] ?? [], holdings[position] ?? []);
      built[position] = share(last.built[position], workload(pod, inboundPorts));
    }
  }
  return { ...last, services, holdings, built };
}

/** Workloads of all meshed pods, by namespace and name. */
export function buildWorkloads(
  memory: Memory,
  inputs: MeshInputs,
  services: readonly LocalService[],
): { readonly workloads: readonly WorkloadIr[]; readonly problems: readonly Problem[] } {
  const pods = podIndexOf(memory, inputs);
  const selectors = selectorIndexOf(memory, inputs);
  const { built } = remember(tableOf(memory, listTopic), theList, [pods, selectors, ...services], (last) =>
    last?.pods === pods && last.selectors === selectors
      ? patchedList(last, services)
      : freshList(pods, selectors, services, last),
  );
  const problems = built.flatMap((each) => (each.problems.length === 0 ? [] : each.problems));
  return { workloads: built.map(({ ir }) => ir), problems: uniqueProblems(problems) };
}

/** All pods of a Deployment meet the same conflict: say it once for each Service. */
function uniqueProblems(problems: readonly Problem[]): readonly Problem[] {
  const seen = new Map<string, Problem>();
  for (const problem of problems) {
    const { object } = problem;
    seen.set(
      `${object === undefined ? "" : objectKey({ namespace: object.namespace ?? "", name: object.name })} ${problem.message}`,
      problem,
    );
  }
  return [...seen.values()];
}
