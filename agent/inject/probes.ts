// The kubelet's probes and hooks speak plain HTTP, gRPC or TCP to the pod's address, where the redirect would hand them to a
// listener that wants mutual TLS. Each is pointed at a listener of Envoy outside the redirect instead, which passes it on to the
// application's own port over loopback (Probe in agent/xds/bootstrap-listeners.ts). exec runs inside the pod and stays as it is.
import type { Problem, Result } from "../../shared/result.ts";
import { err, ok, rejected } from "../../shared/result.ts";
import type { Probe } from "../xds/bootstrap-listeners.ts";
import type { PatchOperation } from "./json-patch.ts";
import type { ContainerFacts, HandlerFacts } from "./pod.ts";
import { proxyPorts } from "./settings.ts";

export interface RewrittenProbes {
  readonly probes: readonly Probe[];
  readonly patch: readonly PatchOperation[];
}

/** Liveness, readiness and startup of the first container are 15901 to 15903, of the second 15904 to 15906, and so on. */
const slots: readonly string[] = ["livenessProbe", "readinessProbe", "startupProbe"];

interface Handled {
  readonly handler: HandlerFacts;
  readonly targetPort: number;
  readonly check: Probe["check"];
}

/** A named port is one of the same container; a name that is none fails in Kubernetes as it would have without us. */
function targetPortOf(handler: HandlerFacts, container: ContainerFacts): number | undefined {
  if (typeof handler.port === "number") return handler.port;
  return container.ports.find((port) => port.name === handler.port)?.port;
}

function handledOf(container: ContainerFacts, passedPorts: ReadonlySet<number>): readonly Handled[] {
  return container.handlers.flatMap((handler) => {
    const targetPort = targetPortOf(handler, container);
    // another host is not this pod; a port outside the redirect is reached as ever
    if (handler.host !== "" || targetPort === undefined || passedPorts.has(targetPort)) return [];
    return [{ handler, targetPort, check: handler.action === "tcpSocket" ? "connect" : "forward" }];
  });
}

/** httpGet and grpc keep all else: path, scheme (TLS goes through as it is), headers, service. */
function rewritten({ handler }: Handled, port: number): readonly PatchOperation[] {
  const { pointer, action } = handler;
  if (action !== "tcpSocket") return [{ op: "replace", path: `${pointer}/${action}/port`, value: port }];
  return [
    { op: "remove", path: `${pointer}/tcpSocket` },
    // Envoy accepts at once whatever the application does; so it answers with a status, from its own look at the port
    { op: "add", path: `${pointer}/httpGet`, value: { port, path: "/", scheme: "HTTP" } },
  ];
}

/** Where an injected pod says which listener stands for which port, for a later invocation and for people. */
export const probesAnnotation = "isthmus.dev/probes";

export function probesText(probes: readonly Probe[]): string {
  return probes.map(({ port, check, targetPort }) => `${port}=${check}:${targetPort}`).join(",");
}

export function parseProbes(text: string): Result<readonly Probe[]> {
  const probes: Probe[] = [];
  for (const entry of text === "" ? [] : text.split(",")) {
    const [, port = "", check, target = ""] = /^([0-9]{5})=(forward|connect):([0-9]{1,5})$/.exec(entry) ?? [];
    const probe: Probe = {
      port: Number(port),
      check: check === "connect" ? check : "forward",
      targetPort: Number(target),
    };
    if (probe.port < proxyPorts.firstProbe || probe.port > proxyPorts.lastProbe || !isPort(probe.targetPort)) {
      const field = `metadata.annotations[${probesAnnotation}]`;
      return rejected("ISTHMUS_PROBES_ANNOTATION", `"${entry}" cannot be read`, field);
    }
    probes.push(probe);
  }
  return ok(probes);
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535;
}

function tooMany(container: ContainerFacts): Problem {
  return {
    code: "ISTHMUS_PROBE_PORTS",
    message: `container "${container.name}" has probes, but ports ${proxyPorts.firstProbe} to ${proxyPorts.lastProbe} for them are used up`,
    field: "spec.containers",
  };
}

/**
 * `containers` in the order of the pod; `passedPorts` are outside the redirect. `known` are those of an earlier invocation, which
 * keep their ports: what points at one has been rewritten already.
 */
export function rewriteProbes(
  containers: readonly ContainerFacts[],
  passedPorts: readonly number[],
  known: readonly Probe[] = [],
): Result<RewrittenProbes> {
  const passed = new Set([...passedPorts, ...known.map((probe) => probe.port)]);
  const probes = new Map(known.map((probe) => [probe.port, probe]));
  const patch: PatchOperation[] = [];
  // hooks have no place of their own: they take one behind those of all containers, shared by target
  let next = Math.max(proxyPorts.firstProbe + slots.length * containers.length, ...known.map(({ port }) => port + 1));
  for (const [index, container] of containers.entries()) {
    for (const handled of handledOf(container, passed)) {
      const { targetPort, check } = handled;
      const slot = slots.indexOf(handled.handler.field);
      const shared = [...probes.values()].find((probe) => probe.targetPort === targetPort && probe.check === check);
      const ownPort = proxyPorts.firstProbe + slots.length * index + slot;
      const port = slot >= 0 && !probes.has(ownPort) ? ownPort : (shared?.port ?? next++);
      if (port > proxyPorts.lastProbe) return err([tooMany(container)]);
      probes.set(port, { port, check, targetPort });
      patch.push(...rewritten(handled, port));
    }
  }
  return ok({ probes: [...probes.values()].sort((a, b) => a.port - b.port), patch });
}
